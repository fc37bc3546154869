"""Weights to start from: the published encoders', or some of another checkpoint's under new names."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor, nn

from ..checkpoints.native import WEIGHTS
from ..errors import InputError
from ..layers.early_fusion import EarlyFusion
from ..text.bert import Bert
from ..text.pretrained import load_pretrained as load_bert
from ..vision.pretrained import load_pretrained as load_swin
from ..vision.swin import Swin
from ..weights import check_finite, read_safetensors, tensors_in
from ..zoo.loading import find

ENCODERS = ("text.*", "fusion.vision.*")
PARSING = "runs/parsing/vision.safetensors"
POINTING = "runs/late-fusion-toyland/last"
MADE_BY = {
    PARSING: "python examples/pretrain_vision.py runs/packed/train runs/parsing",
    POINTING: "deixis train late-fusion-toyland",
}


class Encoded(Protocol):
    """A system with the two encoders that published weights exist for."""

    text: Bert
    fusion: EarlyFusion


@dataclass(frozen=True, kw_only=True)
class StartFrom:
    """Published weights of the encoders, and a checkpoint from which those that begin with `take` are taken.

    `swin` and `bert` are files as their authors publish them. `checkpoint` is a run's `best/` or `last/` folder, any
    safetensors file, or the name of a model that is here, such as `embedded`; `put` stands where `take` stood, and
    empty beginnings mean everything. Where there are patterns in `only`, what matches none of them stays behind.
    `encoders` is a checkpoint whose encoders are taken last, in place of those that came before. Where encoders are
    `needed`, random ones are no start.
    """

    swin: str | None = None
    bert: str | None = None
    checkpoint: str | None = None
    take: str = ""
    put: str = ""
    only: tuple[str, ...] = ()
    encoders: str | None = None
    needed: bool = False


def start(system: nn.Module, origin: StartFrom) -> None:
    """Fill the system's weights. Raises DeixisError where nothing is taken, or something that does not fit."""
    missing = [f"--start-from.{name} FILE" for name in ("swin", "bert") if getattr(origin, name) is None]
    if origin.needed and missing and origin.checkpoint is None and origin.encoders is None:
        raise InputError(
            f"This recipe starts from published encoders, which are not all given; add {' and '.join(missing)}, or "
            "--start-from.needed False to begin from random ones."
        )
    encoded = cast(Encoded, system)
    if origin.swin is not None:
        load_swin(cast(Swin, encoded.fusion.vision), origin.swin)
    if origin.bert is not None:
        load_bert(encoded.text, origin.bert)
    if origin.checkpoint is not None:
        _take(system, origin.checkpoint, origin.take, origin.put, origin.only)
    if origin.encoders is not None:
        _take(system, origin.encoders, only=ENCODERS)


def _take(system: nn.Module, path: str, take: str = "", put: str = "", only: tuple[str, ...] = ()) -> None:
    wanted = system.state_dict()
    taken = {
        put + name.removeprefix(take): tensor
        for name, tensor in _weights(path).items()
        if name.startswith(take) and any(fnmatchcase(name, pattern) for pattern in only or ("*",))
    }
    if not taken:
        raise InputError(
            f"{path} has no weights that begin with {take!r} and match {only or '*'}; check what `start-from` takes."
        )
    for name, tensor in taken.items():
        if name not in wanted:
            raise InputError(
                f"{path} gives {name!r}, which the system lacks; check what `start-from` takes and where it puts it."
            )
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{path} gives {name!r} of shape {list(tensor.shape)}, but the system wants "
                f"{list(wanted[name].shape)}; the configs must agree."
            )
    check_finite(taken, path)
    system.load_state_dict(taken, strict=False)


def _weights(path: str) -> dict[str, Tensor]:
    if path in MADE_BY and not Path(path).exists():
        raise InputError(
            f"There are no weights to start from at {path}; make it first by `{MADE_BY[path]}`, or give a checkpoint's "
            "folder or file."
        )
    place = find(path)
    file = place / WEIGHTS if place.is_dir() else place
    return tensors_in(read_safetensors(file), file)
