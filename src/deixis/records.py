"""The records that pass between files, in NumPy, and the one legend of axis letters.

Axis letters mean one thing everywhere: `b` expressions of a batch, `i` images of a batch, `t` frames of a
clip, `c` channels, `h w` pixels, `y x` feature cells, `n` = y·x, `l` tokens, `d` features, `k` slots or
clusters. An image is a clip with t = 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from .errors import InputError, did_you_mean
from .masks import RLE


class Config:
    """Base class of the configs that systems and objectives are built from."""


@runtime_checkable
class Visual(Protocol):
    """An image or a clip whose pixels are decoded on request."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, without decoding the pixels where the format allows."""
        ...

    @property
    def num_frames(self) -> int: ...

    def read(self, frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
        """The frames at these positions, in this order and with repetitions; None reads all of them."""
        ...


def still(pixels: UInt8[np.ndarray, "h w 3"], frames: Sequence[int] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
    """An image as the frames of a clip with t = 1."""
    clip = pixels[None]
    return clip if frames is None else clip[list(frames)]


@dataclass(frozen=True, slots=True)
class Ids:
    """Identity of a sample: its image (or clip), the object it refers to, and its sentence."""

    image: str
    object: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One (visual, expression, mask) triple as a reader found it; `mask` is None where there is no label.

    `frame` is the position of the frame that the mask belongs to. `targets` are labels for pre-training: dense classes
    `[h w]`, or labels of the whole image.
    """

    visual: Visual
    expression: str
    mask: RLE | None
    ids: Ids
    dataset: str
    split: str
    frame: int = 0
    targets: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)  # facts for breakdowns: program, same-kind count …


@runtime_checkable
class Reader(Protocol):
    """A data set: Samples by position; `ids` lists them without decoding a pixel."""

    @property
    def ids(self) -> tuple[Ids, ...]: ...

    def __len__(self) -> int: ...
    def __getitem__(self, position: int) -> Sample: ...


MaskRuleKind = Literal["probability", "min-max", "half-maximum"]


@dataclass(frozen=True, kw_only=True)
class MaskRule:
    """How a probability map becomes a mask; stored in a checkpoint's card.

    - `probability`: the value exceeds the threshold (LAVT, VEGA, MagNet)
    - `min-max`: the value, rescaled so that the map spans 0 to 1, reaches the threshold (SaG); a constant map is empty
    - `half-maximum`: the value exceeds half of the map's maximum (SDA); the threshold is not used

    `chosen_on` names the data on whose labels the threshold was chosen; empty where no label was read.
    """

    kind: MaskRuleKind = "probability"
    threshold: float = 0.5
    chosen_on: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (known := get_args(MaskRuleKind)):
            raise InputError(f"There is no mask rule {self.kind!r}. {did_you_mean(str(self.kind), known)}")
        if not 0 < self.threshold < 1:
            raise InputError(f"The threshold is {self.threshold}; expected a number between 0 and 1.")

    def __call__(self, values: Float[np.ndarray, "*size"]) -> Bool[np.ndarray, "*size"]:
        """The mask of one map."""
        if self.kind == "probability":
            return values > self.threshold
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if self.kind == "half-maximum":
            return values > high / 2
        return (values - low >= self.threshold * (high - low)) & (high > low)


@dataclass(frozen=True, kw_only=True)
class PresenceRule:
    """The probability that a presence head must exceed; stored in a checkpoint's card.

    It is of the calibrated probability where the card has a calibration. `chosen_on` names the data on whose labels the
    threshold was chosen, and the rule; empty where no label was read.
    """

    threshold: float = 0.5
    chosen_on: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"The presence threshold is {self.threshold}; expected a number between 0 and 1.")
