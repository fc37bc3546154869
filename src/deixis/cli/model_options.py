"""The options of commands that run a model, and how they load it."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import InputError

if TYPE_CHECKING:
    from ..predict.segmenter import Segmenter
    from ..records import Config


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a model is loaded and run."""

    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1 or mps; by default the fastest one available."""
    dtype: Annotated[str, tyro.conf.arg(metavar="NAME")] = "float32"
    """float32, bfloat16 or float16."""
    runtime: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """torch for a checkpoint, onnx or openvino for an export (deixis export); by default what the files are for."""
    compiled: bool = False
    """Compile the model: the first prediction takes minutes, the others less time."""
    download: bool = False
    """Download the model where it is a published one that is not on this machine."""

    refine: Annotated[str | None, tyro.conf.arg(metavar="crf")] = None
    """Move masks to the photo's edges with a DenseCRF; parameters as in crf:iterations=10,bilateral_sxy=80."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """A setting of the model's predictions that changes no weight, such as iterations=4 for SaG; may be repeated."""
    system: Annotated[str | None, tyro.conf.arg(metavar="MODULE:CONFIG")] = None
    """The config of the model's system, for a system of your own: my_package.my_file:MyConfig."""

    @property
    def settings(self) -> dict[str, Any]:
        """The values of --set: numbers as JSON writes them, everything else a text."""
        found: dict[str, Any] = {}
        for each in self.set:
            name, equals, value = each.partition("=")
            if not (name and equals and value):
                raise InputError(f"--set is {each!r}; expected NAME=VALUE, such as iterations=4.")
            try:
                found[name.replace("-", "_")] = json.loads(value)
            except ValueError:
                found[name.replace("-", "_")] = value
        return found

    def load(self, model: str, *, quiet: bool = False) -> "Segmenter":
        from ..zoo.loading import load

        if self.download and not quiet:
            from ..zoo.hub_models import download_notice

            if notice := download_notice(model):
                print(f"deixis: {notice}", file=sys.stderr)
        segmenter = load(
            model,
            system=self._system(),
            device=self.device,
            dtype=self.dtype,
            runtime=self.runtime,
            download=self.download,
            compiled=self.compiled,
            refine=self.refine,
            settings=self.settings,
        )
        if self.compiled and not quiet:  # minutes without a message would look like a fault
            print("deixis: the model is compiled for the first prediction; a large one takes minutes", file=sys.stderr)
        return segmenter

    def _system(self) -> "type[Config] | None":
        if self.system is None:
            return None
        from ..zoo.systems import system_named

        return system_named(self.system)
