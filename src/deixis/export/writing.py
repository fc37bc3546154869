"""Write a model as an export: ONNX or OpenVINO files beside its card and its vocabulary, compared with PyTorch."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoints.card import CARD, VOCABULARY
from ..checkpoints.configs import to_dict
from ..checkpoints.official.published import sha256_of
from ..errors import InputError, ModelError, did_you_mean
from ..files import complete_or_absent
from ..predict.exported import ENDINGS, EXPORT, ExportFacts, Session, onnx_session, openvino_session
from ..predict.segmenter import Segmenter
from .graphs import Graph, domain_graph, graphs

NOISY = "torch.onnx._internal.exporter._registration"  # warns of a missing torchvision
OPSET = 20  # the first with 5-D grid sampling and GELU
LARGEST_FILE = 1_800_000_000  # bytes of weights; an ONNX file ends at 2 GiB, and larger ones keep them beside it
LEAST_EQUAL = 0.9999  # of pixels whose masks equal PyTorch's


def export_model(segmenter: Segmenter, out: Path, kind: str = "onnx") -> float:
    """Write the folder `out`; returns the fraction of pixels whose mask, of noise, equals PyTorch's.

    Raises `ModelError` where the system cannot be exported, or where less than 99.99 % of the pixels are equal.
    """
    if kind not in ENDINGS:
        raise InputError(f"There is no format {kind!r}. {did_you_mean(kind, ENDINGS)}")
    _check_installed(kind)
    system = segmenter.system.float().cpu().requires_grad_(False)
    traced = graphs(system, segmenter.preprocess, len(segmenter.tokenizer))
    stems = ("model",) if len(traced) == 1 else ("encode", "answer")
    files = [f"{stem}{ENDINGS[kind]}" for stem in stems]
    has_domain = segmenter.card.domain_statistics is not None
    domain = f"domain{ENDINGS[kind]}" if has_domain else ""
    if has_domain:
        traced.append(domain_graph(system, segmenter.preprocess))
    names = [*files, domain] if has_domain else files
    with complete_or_absent(out) as folder:
        sessions = [_write(graph, folder / file, kind) for graph, file in zip(traced, names, strict=True)]
        equal = min(_equal(graph, session) for graph, session in zip(traced, sessions, strict=True))
        if equal < LEAST_EQUAL:
            raise ModelError(
                f"The export of {segmenter.name!r} gives other masks than PyTorch on {1 - equal:.2%} of the pixels; "
                "nothing was written."
            )
        _write_facts(segmenter, folder, kind, files, domain)
    return equal


def _write(graph: Graph, file: Path, kind: str) -> Session:
    """Write one graph, and open what was written."""
    onnx_file = file.with_suffix(ENDINGS["onnx"])
    _write_onnx(graph, onnx_file)
    if kind == "onnx":
        return onnx_session(onnx_file, "float32")
    import openvino

    openvino.save_model(openvino.Core().read_model(onnx_file), file, compress_to_fp16=False)
    for written in file.parent.glob(f"{onnx_file.name}*"):
        written.unlink()
    return openvino_session(file, "float32")


def _write_onnx(graph: Graph, file: Path) -> None:
    axis = torch.export.Dim("batch", min=1)
    shapes = tuple({0: axis} if is_free else {} for is_free in graph.is_free)
    # Of `*features` the exporter wants the shapes as one tuple.
    named = shapes if graph.inputs[0] == "images" else (*shapes[:2], shapes[2:])
    logging.getLogger(NOISY).setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(graph.network, graph.arguments, dynamic_shapes=named)
            written: Any = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                verbose=False,
            )
    except Exception as error:  # of PyTorch's exporter, whose errors share no base class
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise ModelError(f"The system {type(graph.network.system).__name__} cannot be exported ({reason}).") from error
    size = sum(parameter.numel() * 4 for parameter in graph.network.parameters())
    written.save(file, external_data=size > LARGEST_FILE)


def _equal(graph: Graph, session: Session) -> float:
    """The fraction of the values of the first output with PyTorch's sign; of features, all where they are close."""
    with torch.no_grad():
        outputs = graph.network(*graph.arguments)
        expected = [each.numpy() for each in ([outputs] if isinstance(outputs, torch.Tensor) else outputs)]
    found = session({name: each.numpy() for name, each in zip(graph.inputs, graph.arguments, strict=True)})
    if graph.outputs[0] == "logits":
        return float(((found[0] > 0) == (expected[0] > 0)).mean())
    pairs = zip(found, expected, strict=True)
    return float(all(np.allclose(one, right, rtol=1e-2, atol=1e-3 * np.abs(right).max()) for one, right in pairs))


def _write_facts(segmenter: Segmenter, folder: Path, kind: str, files: list[str], domain: str) -> None:
    config: Any = segmenter.system.config
    has_regions = hasattr(segmenter.system, "regions_of")
    facts = ExportFacts(
        kind=kind,  # type: ignore[arg-type]
        files=files,
        domain=domain,
        tokenizer=config.tokenizer,
        template=getattr(config, "template", ""),
        regions=config.regions if has_regions else 0,
        compactness=config.compactness if has_regions else 0.0,
        checkpoint="" if segmenter.weights is None else sha256_of(segmenter.weights),
        name=segmenter.name,
    )
    segmenter.tokenizer.save(folder / VOCABULARY)
    for name, content in ((CARD, segmenter.card), (EXPORT, facts)):
        text = json.dumps(to_dict(content), indent=1, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def _check_installed(kind: str) -> None:
    """Raises `ModelError` with the command that installs what is missing."""
    from importlib.util import find_spec

    needed = ("onnx", "onnxscript", "onnxruntime" if kind == "onnx" else "openvino")
    if missing := [module for module in needed if find_spec(module) is None]:
        raise ModelError(
            f"Exporting needs {' and '.join(missing)}, which is not installed; run `pip install 'deixis[{kind}]'`."
        )
