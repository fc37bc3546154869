"""The records that pass between files, and the one legend of axis letters.

Axis letters mean one thing everywhere: `b` expressions of a batch, `i` images of a batch, `t` frames of a
clip, `c` channels, `h w` pixels, `y x` feature cells, `n` = y·x, `l` words (tokens), `d` features, `k` slots
or clusters. A still is a clip with t = 1; the frame that a mask belongs to is t // 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


class RLE(TypedDict):
    """A mask as COCO's compressed run lengths; `deixis.masks` reads and writes it."""

    size: list[int]  # height, width
    counts: str


@runtime_checkable
class Visual(Protocol):
    """An image or a clip that is read when it is looked at."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, without decoding the pixels where the format allows."""
        ...

    def read(self) -> UInt8[np.ndarray, "t h w 3"]: ...


@dataclass(frozen=True, slots=True)
class Ids:
    """Who a sample is: its image (or clip), the object meant, the sentence that means it."""

    image: str
    object: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One (visual, expression, mask) triple as a reader found it; `mask` is None where there is no label."""

    visual: Visual
    expression: str
    mask: RLE | None
    ids: Ids
    dataset: str
    split: str
    traits: Mapping[str, Any] = field(default_factory=dict)  # facts for breakdowns: program, same-kind count …


@runtime_checkable
class Reader(Protocol):
    """A data set: Samples by position; `ids` answers who is there without touching a pixel."""

    @property
    def ids(self) -> tuple[Ids, ...]: ...

    def __len__(self) -> int: ...
    def __getitem__(self, position: int) -> Sample: ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Expressions and the images they speak about, as tensors.

    Several expressions may share an image: expression j speaks about `images[image_index[j]]`. Where
    `image_index` is None every expression has its own image and i = b.
    """

    images: Float[Tensor, "i t 3 h w"]  # normalised by the system's Preprocess
    words: Int[Tensor, "b l"]
    word_mask: Bool[Tensor, "b l"]  # True = a real word, [CLS] and [SEP] included
    masks: Bool[Tensor, "b h w"] | None = None
    image_index: Int[Tensor, " b"] | None = None
    sizes: tuple[tuple[int, int], ...] = ()  # height and width before resizing, one an expression
    ids: tuple[Ids, ...] = ()
    expressions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.words.shape[0]

    def expand(self, per_image: Tensor) -> Tensor:
        """What was computed once an image `[i …]`, repeated for each expression `[b …]`."""
        return per_image if self.image_index is None else per_image[self.image_index]

    def to(self, device: torch.device | str) -> "Batch":
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Mask logits at the size of `batch.images`, and named maps that explain them."""

    logits: Float[Tensor, "b h w"]
    evidence: dict[str, Tensor] = field(default_factory=dict)
