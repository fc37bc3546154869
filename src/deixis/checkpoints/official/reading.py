"""Readers of the checkpoints that the papers' authors published: their files, our names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ...weights import read_pickle, tensors_in
from . import lavt, magnet
from .renaming import Weights, some


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a system's published files name its weights, and what is made of them."""

    title: str
    vision: str  # what the names of its image encoder begin with, which no other layout has
    text: str  # and those of its BERT
    rename: Callable[[Mapping[str, Tensor]], tuple[Weights, list[str]]]
    original: Callable[[str], str]  # the published name of one of our weights
    expected_names: Callable[[Mapping[str, Tensor]], set[str]]
    infer_config: Callable[[Mapping[str, Tensor], list[int] | None], dict[str, Any]]


LAYOUTS = {
    "lavt": Layout(
        title="LAVT",
        vision="backbone.layers.",
        text="text_encoder.",
        rename=lavt.rename_lavt,
        original=lavt.original,
        expected_names=lavt.expected_names,
        infer_config=lavt.infer_config,
    ),
    "magnet": Layout(
        title="MagNet",
        vision="image_model.layers.",
        text="language_model.",
        rename=magnet.rename_magnet,
        original=magnet.original,
        expected_names=magnet.expected_names,
        infer_config=magnet.infer_config,
    ),
}


@dataclass(frozen=True, kw_only=True)
class OfficialCheckpoint:
    """What a published file holds, as ours: the system's name, its config's fields, its weights by our names."""

    system: str
    config: dict[str, Any]
    state_dict: Weights


def read_official(path: str | Path) -> OfficialCheckpoint:
    """A published `.pth` of LAVT, BERT beside the model or within it, or of MagNet; nothing in it is executed.

    Raises DeixisError where the file is no such checkpoint, lacks a weight or has one too many.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no checkpoint file at {path}; give the path of a published .pth.")
    raw = read_pickle(path)
    official = _flat(raw, path)
    system, layout = _layout(official, path)
    heads = _heads(raw.get("args"), path)
    try:
        ours, unknown = layout.rename(official)
        missing = layout.expected_names(official) - ours.keys()
        config = None if missing or unknown else layout.infer_config(official, heads)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{path} has weights of shapes that no {layout.title} has ({error}); get an unchanged copy."
        ) from None
    if config is None:
        lacks = f"lacks {some({layout.original(name) for name in missing})}" if missing else ""
        knows = f"has {some(unknown)}, which {layout.title} does not know" if unknown else ""
        raise InputError(f"{path} {' and '.join(filter(None, (lacks, knows)))}; get an unchanged copy.")
    broken = [name for name, tensor in ours.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{path} holds values that are no numbers in {some(broken)}; get a whole copy.")
    return OfficialCheckpoint(system=system, config=config, state_dict=ours)


def _layout(official: Weights, path: str | Path) -> tuple[str, Layout]:
    """Whose file it is, by the names of the image encoder's weights."""
    for system, layout in LAYOUTS.items():
        if any(name.startswith(layout.vision) for name in official):
            if not any(name.startswith(layout.text) for name in official):
                raise InputError(
                    f"{path} has no BERT, neither in `bert_model` nor as {layout.text}*; get the whole checkpoint."
                )
            return system, layout
    titles = " or ".join(layout.title for layout in LAYOUTS.values())
    wanted = " or ".join(f"{layout.vision}*" for layout in LAYOUTS.values())
    raise InputError(f"{path} is no {titles} checkpoint: it has {some(official)}, and {wanted} is wanted.")


def _heads(arguments: Any, path: str | Path) -> list[int] | None:
    """The fusions' heads as the authors' training was told them, such as `1-2-1-4`; old files say nothing."""
    told = getattr(arguments, "mha", None)
    if not isinstance(told, str) or not told:
        return None
    if not re.fullmatch(r"[1-9]\d?(-[1-9]\d?){3}", told):
        raise InputError(f"{path} was trained with mha={told!r}; four numbers such as 1-2-1-4 are wanted.")
    return [int(count) for count in told.split("-")]


def _flat(raw: dict[str, Any], path: Path) -> Weights:
    """One dict of tensors in the layout that has BERT under `text_encoder.`, without the wrapper's prefix."""
    flat: Weights = {}
    parts = ((raw.get("model", raw), ""), (raw.get("bert_model", {}), "text_encoder."))
    for part, prefix in parts:
        flat |= {prefix + name.removeprefix("module."): tensor for name, tensor in tensors_in(part, path).items()}
    return flat
