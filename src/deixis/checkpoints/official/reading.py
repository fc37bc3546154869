"""Read the checkpoints that the papers' authors published, with the weights under our names."""

import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...data.transforms import Preprocess
from ...errors import InputError, ModelError
from ...records import MaskRule
from ...weights import check_finite, read_pickle, tensors_in
from . import lavt, magnet, sag
from .renaming import Weights, some


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the published files of a system name its weights, and how they are converted."""

    title: str
    vision: str  # the prefix of its image encoder, which no other layout has
    text: str  # the prefix of its BERT
    rename: Callable[[Mapping[str, Tensor]], tuple[Weights, list[str]]]
    original: Callable[[str], str]  # the published name of one of our weights
    expected_names: Callable[[Mapping[str, Tensor]], set[str]]
    infer_config: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    protocol: str = "lavt-480"  # of the scores that its authors publish
    preprocess: Preprocess = field(default_factory=Preprocess)
    mask_rule: MaskRule = field(default_factory=MaskRule)


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
    "sag": Layout(
        title="SaG",
        vision="encoders.img_enc.img_backbone.",
        text="encoders.txt_enc.bert.",
        rename=sag.rename_checked,
        original=sag.original,
        expected_names=sag.expected_names,
        infer_config=sag.infer_config,
        protocol="weak",
        # The published code cuts no sentence; the recipes read as many tokens.
        preprocess=Preprocess(image_size=384, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), max_tokens=64),
        mask_rule=MaskRule(kind="min-max", threshold=0.5),
    ),
}


@dataclass(frozen=True, kw_only=True)
class OfficialCheckpoint:
    """A published file as ours: the system's name, the fields of its config, and its weights by our names."""

    system: str
    config: dict[str, Any]
    state_dict: Weights


def read_official(path: str | Path) -> OfficialCheckpoint:
    """Read a published `.pth` of LAVT, MagNet or SaG, BERT included or beside it; no code is executed.

    Raises InputError if the file is missing or not of these systems, and ModelError if it is broken, lacks a weight or
    has an unexpected one.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no checkpoint file at {path}; give the path of a published .pth.")
    raw = read_pickle(path)
    official = _flat(raw, path)
    system, layout = _layout(official, path)
    arguments = _arguments(raw.get("args"), path)
    try:
        ours, unknown = layout.rename(official)
        missing = layout.expected_names(official) - ours.keys()
        config = None if missing or unknown else layout.infer_config(official, arguments)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(
            f"{path} has weights of shapes that no {layout.title} has ({error}); download it again."
        ) from None
    if config is None:
        lacks = f"lacks {some({layout.original(name) for name in missing})}" if missing else ""
        has = f"has {some(unknown)}, which {layout.title} does not have" if unknown else ""
        raise ModelError(f"{path} {' and '.join(filter(None, (lacks, has)))}; download it again.")
    check_finite(ours, path)
    return OfficialCheckpoint(system=system, config=config, state_dict=ours)


def _layout(official: Weights, path: str | Path) -> tuple[str, Layout]:
    """The system whose file it is, from the names of the image encoder's weights."""
    for system, layout in LAYOUTS.items():
        if any(name.startswith(layout.vision) for name in official):
            if not any(name.startswith(layout.text) for name in official):
                raise ModelError(
                    f"{path} has no BERT, neither in `bert_model` nor as {layout.text}*; download the published file."
                )
            return system, layout
    *titles, last = (layout.title for layout in LAYOUTS.values())
    expected = " or ".join(f"{layout.vision}*" for layout in LAYOUTS.values())
    raise InputError(
        f"{path} is not a {', '.join(titles)} or {last} checkpoint: it has {some(official)}; expected {expected}. Give "
        "a published file."
    )


def _arguments(arguments: Any, path: str | Path) -> dict[str, Any]:
    """The training's arguments by name, `fusion_heads` from `mha` such as `1-2-1-4`; old files lack it."""
    told: dict[str, Any] = dict(vars(arguments)) if isinstance(arguments, Namespace) else {}
    mha = told.get("mha")
    if not isinstance(mha, str) or not mha:
        return told
    if not re.fullmatch(r"[1-9]\d?(-[1-9]\d?){3}", mha):
        raise ModelError(
            f"{path} was trained with mha={mha!r}; expected four numbers such as 1-2-1-4. Download it again."
        )
    return told | {"fusion_heads": [int(count) for count in mha.split("-")]}


def _flat(raw: dict[str, Any], path: Path) -> Weights:
    """All tensors in one dict, without the wrapper's prefix; a separate BERT is put under `text_encoder.`."""
    flat: Weights = {}
    parts = ((raw.get("model", raw), ""), (raw.get("bert_model", {}), "text_encoder."))
    for part, prefix in parts:
        flat |= {prefix + name.removeprefix("module."): tensor for name, tensor in tensors_in(part, path).items()}
    return flat
