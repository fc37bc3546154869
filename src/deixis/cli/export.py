"""`deixis export`: write a model as files that run without PyTorch."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import InputError
from .options import parse

EPILOGUE = """
The folder OUT is a model for every other command, and on a CPU faster than the checkpoint (docs/speed.md). It holds the
network, the card and the vocabulary. It computes on a CPU in single precision, has no evidence, and reads any number
of sentences at a time.

  deixis export bundled out
  deixis segment photo.jpg "the red cup" --model out
  deixis export runs/mine out-ov --format openvino
  deixis segment photo.jpg "the red cup" --model out-ov --dtype bfloat16"""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write a model as ONNX or OpenVINO files, which run without PyTorch."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A model's name, or the folder of a checkpoint or of a run."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The folder to write, which must not exist or be empty."""
    format: Literal["onnx", "openvino"] = "onnx"
    """onnx, which both runtimes read, or openvino, which loads faster there."""
    system: Annotated[str | None, tyro.conf.arg(metavar="MODULE:CONFIG")] = None
    """The config of the model's system, for a system of your own: my_package.my_file:MyConfig."""


def main(arguments: list[str]) -> int:
    options = parse(ExportOptions, arguments, "deixis export", EPILOGUE)
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise InputError(f"{options.out} holds something already; give a new or an empty folder.")

    from ..export.writing import export_model
    from .model_options import ModelOptions

    segmenter = ModelOptions(device="cpu", system=options.system).load(options.model)
    print("deixis: exporting takes minutes, for a large model more", file=sys.stderr)
    equal = export_model(segmenter, options.out, options.format)
    print(f"{options.out} is ready; its masks of noise equal PyTorch's on {equal:.3%} of the pixels:")
    print(f'deixis segment photo.jpg "the red cup" --model {options.out}')
    return 0
