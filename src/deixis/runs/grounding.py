"""Mask grounding around a run's system, and the names of weights and patterns on either side of the wrapper."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import cast

from torch import Tensor, nn

from ..errors import InputError
from ..layers.early_fusion import EarlyFusion
from ..layers.mutual_fusion import MutualFusion
from ..objectives.mask_grounding import GroundingConfig, MaskGrounding
from ..training.optim import Optimiser
from .initialise import Encoded

INSIDE = "system."  # what the wrapper puts before the names of the system's weights


def ground(system: nn.Module, config: GroundingConfig, vocabulary: tuple[str, ...]) -> MaskGrounding:
    """The system within mask grounding, which is as wide as what its encoders hand out."""
    if not isinstance(getattr(system, "fusion", None), EarlyFusion | MutualFusion):
        raise InputError(
            f"Mask grounding reads pixels that have met the words, and {type(system).__name__} fuses none before its "
            "masks; take LAVT, MagNet or VEGA, or leave it away (`--grounding None`)."
        )
    encoded = cast(Encoded, system)
    return MaskGrounding(system, config, vocabulary, encoded.text.width, encoded.fusion.widths[-1])


def optimiser_around(optimiser: Optimiser, grounded: MaskGrounding) -> Optimiser:
    """The optimiser with patterns that mean the weights they meant without the wrapper, and the wrapper's own too."""
    names = [name for name, _ in grounded.system.named_parameters()]
    own = [name for name, _ in grounded.named_parameters() if not name.startswith(INSIDE)]

    def rename(patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new for pattern in patterns for new in _renamed(pattern, names, own))

    return replace(
        optimiser,
        no_decay=rename(optimiser.no_decay),
        frozen=rename(optimiser.frozen),
        slow=rename(optimiser.slow),
    )


def ungrounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The wrapped system's weights under their own names: all that a checkpoint holds."""
    return {name.removeprefix(INSIDE): tensor for name, tensor in weights.items() if name.startswith(INSIDE)}


def _renamed(pattern: str, names: Iterable[str], own: Iterable[str]) -> list[str]:
    """A pattern that matches nothing stays as it is, for the optimiser to complain about."""
    inside = any(fnmatchcase(name, pattern) for name in names)
    outside = any(fnmatchcase(name, pattern) for name in own)
    return [INSIDE + pattern] * inside + [pattern] * (outside or not inside)
