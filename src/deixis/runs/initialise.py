"""The first weights of a run: published encoders', or some of another checkpoint's under new names."""

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from ..checkpoints.native import WEIGHTS
from ..errors import InputError
from ..text.bert import Bert
from ..text.glove import WordTable, read_glove
from ..text.pretrained import load_pretrained as load_bert
from ..vision.i3d import I3D
from ..vision.i3d import load_pretrained as load_i3d
from ..vision.nanodet import NanoDet, load_nanodet
from ..vision.pretrained import load_pretrained as load_swin
from ..vision.resnet import ResNet
from ..vision.resnet import load_pretrained as load_resnet
from ..vision.swin import Swin
from ..vision.vit import ViT, load_vit
from ..weights import check_finite, read_safetensors, tensors_in
from ..zoo.conversion import cache_folder
from ..zoo.loading import find
from .run import StartFrom

ENCODERS = ("text.*", "fusion.vision.*")
Earlier = Mapping[str, Path]
"""The folders of the chain's earlier Runs, by their names."""

Part = TypeVar("Part", bound=nn.Module)
logger = logging.getLogger(__name__)


def start(system: nn.Module, origin: StartFrom, earlier: Earlier | None = None) -> None:
    """Fill the system's weights in place. Raises `InputError` where nothing is read, or a weight does not fit."""
    missing = [f"--start-from.{name} FILE" for name in (_vision(system), "bert") if getattr(origin, name) is None]
    if any(isinstance(module, NanoDet) for module in system.modules()):
        missing = [] if origin.nanodet is not None else ["--start-from.nanodet FILE (docs/photos.md)"]
    if origin.required and missing and origin.checkpoint is None and origin.encoders is None:
        raise InputError(
            f"This recipe starts from published encoders, which are not all given; add {' and '.join(missing)}, or "
            "--start-from.required False to start from random ones."
        )
    if origin.swin is not None:
        load_swin(_part(system, Swin, origin.swin), origin.swin)
    if origin.vit is not None:
        load_vit(_part(system, ViT, origin.vit), origin.vit)
    if origin.bert is not None:
        load_bert(_part(system, Bert, origin.bert), origin.bert)
    if origin.resnet is not None:
        load_resnet(_part(system, ResNet, origin.resnet), origin.resnet)
    if origin.i3d is not None:
        load_i3d(_part(system, I3D, origin.i3d), origin.i3d)
    if origin.nanodet is not None:
        load_nanodet(_part(system, NanoDet, origin.nanodet), origin.nanodet)
    _check_statistics(system, origin)
    if origin.glove is not None:
        _part(system, WordTable, origin.glove)
    earlier = earlier or {}
    if origin.checkpoint is not None:
        _copy(system, origin.checkpoint, earlier, origin.patterns, origin.prefixes)
    if origin.encoders is not None:
        _copy(system, origin.encoders, earlier, ENCODERS, {})


def start_words(system: nn.Module, origin: StartFrom, vocabulary: Sequence[str]) -> None:
    """Fill the system's word table, if it has one, from the GloVe file of `origin`; without a file a warning says so.

    Raises `InputError` where a fixed table, which nothing trains, gets neither a file nor a checkpoint.
    """
    for table in (module for module in system.modules() if isinstance(module, WordTable)):
        if origin.glove is not None:
            glove = read_glove(origin.glove, vocabulary, table.weight.shape[1], cache=cache_folder() / "glove")
            table.fill(glove)
            logger.info("%s lacks %d of %d words.", origin.glove, len(glove.unknown), len(vocabulary))
        elif origin.checkpoint is None and not isinstance(table.weight, nn.Parameter):
            raise InputError(
                "The system's words have the fixed vectors of a GloVe file, but none is given; add --start-from.glove "
                "FILE, or --system.text.glove False for vectors that are trained."
            )
        elif origin.checkpoint is None:
            logger.warning("No GloVe file is given: the words' vectors start from random numbers and are trained.")


def place_of(name: str, earlier: Earlier) -> Path:
    """The checkpoint of an earlier Run, else what `deixis.load` finds under the name."""
    return find(earlier.get(name, Path(name)) if name in earlier else name)


def _vision(system: nn.Module) -> str:
    return "vit" if any(isinstance(module, ViT) for module in system.modules()) else "swin"


def _part(system: nn.Module, kind: type[Part], file: str) -> Part:
    for module in system.modules():
        if isinstance(module, kind):
            return module
    raise InputError(f"{type(system).__name__} has no {kind.__name__} that {file} could fill; omit that file.")


def _check_statistics(system: nn.Module, origin: StartFrom) -> None:
    """Raises `InputError` where nothing fills the statistics of frozen batch norms."""
    given = {ResNet: origin.resnet, I3D: origin.i3d}
    for module in system.modules():
        if not isinstance(module, ResNet | I3D) or module.config.norms != "frozen" or origin.checkpoint is not None:
            continue
        if given[type(module)] is None:
            name = type(module).__name__
            raise InputError(
                f"The {name}'s batch norms are frozen, but no file gives their statistics; add --start-from."
                f"{name.lower()} FILE, or --system.vision.norms trained for a network that starts from random weights."
            )


def _copy(
    system: nn.Module, name: str, earlier: Earlier, patterns: tuple[str, ...], prefixes: Mapping[str, str]
) -> None:
    place = place_of(name, earlier)
    file = place / WEIGHTS if place.is_dir() else place
    stored = tensors_in(read_safetensors(file), file)
    chosen = {each: tensor for each, tensor in stored.items() if _matches(each, patterns)}
    copied = _renamed(chosen, prefixes)
    if not copied:
        begin = f" that begin with {' or '.join(map(repr, prefixes))}" if prefixes else ""
        raise InputError(
            f"{name} has no weights{begin} that match {list(patterns) or '*'}; check the patterns and prefixes of "
            "`start_from`."
        )
    expected = system.state_dict()
    for each, tensor in copied.items():
        if each not in expected:
            raise InputError(
                f"{name} gives {each!r}, which the system does not have; check the patterns and prefixes of "
                "`start_from`."
            )
        if tensor.shape != expected[each].shape:
            raise InputError(
                f"{name} gives {each!r} of shape {list(tensor.shape)}, but the system expects "
                f"{list(expected[each].shape)}; the configs must agree."
            )
    check_finite(copied, name)
    system.load_state_dict(copied, strict=False)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns or ("*",))


def _renamed(weights: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights that begin with an old prefix, with the new one; all of them where there are no prefixes."""
    return {
        new + name.removeprefix(old): tensor
        for name, tensor in weights.items()
        for old, new in (prefixes or {"": ""}).items()
        if name.startswith(old)
    }
