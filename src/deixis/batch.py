"""What a network receives and returns, as tensors; axis letters as in `records.py`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .records import Ids


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Expressions and the images they refer to.

    Several expressions may share an image: expression j refers to `images[image_index[j]]`. Where `image_index` is
    None every expression has its own image and i = b.
    """

    images: Float[Tensor, "i t 3 h w"]  # normalised by the system's Preprocess
    token_ids: Int[Tensor, "b l"]
    token_mask: Bool[Tensor, "b l"]  # True = a real token, [CLS] and [SEP] included
    masks: Bool[Tensor, "b h w"] | None = None
    image_index: Int[Tensor, " b"] | None = None
    frames: Int[Tensor, " i"] | None = None  # each clip's target frame; None: the middle one, t // 2
    targets: Mapping[str, Tensor] = field(default_factory=dict)  # for pre-training: dense classes, labels of an image
    sizes: tuple[tuple[int, int], ...] = ()  # height and width before resizing, one per expression
    ids: tuple[Ids, ...] = ()
    positions: tuple[int, ...] = ()  # of each expression's frame in its whole clip, which names the image with `ids`
    expressions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def target_frames(self) -> Float[Tensor, "i 3 h w"]:
        """The frame of each clip that the expressions are asked about; of an image, the image."""
        if self.frames is None:
            return self.images[:, self.images.shape[1] // 2]
        return self.images[torch.arange(len(self.images), device=self.images.device), self.frames]

    def expand(self, per_image: Tensor) -> Tensor:
        """Values computed once per image `[i …]`, repeated for each expression `[b …]`."""
        return per_image if self.image_index is None else per_image[self.image_index]

    def with_own_images(self) -> "Batch":
        """The same with a copy of its image for each expression, as data of pairs have it."""
        frames = None if self.frames is None else self.expand(self.frames)
        return replace(self, images=self.expand(self.images), frames=frames, image_index=None)

    def to(self, device: torch.device | str) -> "Batch":
        moved = {each.name: _moved(getattr(self, each.name), device) for each in fields(self)}
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One batch of the source domain and one of the target domain, for adaptation."""

    source: Batch
    target: Batch

    def __len__(self) -> int:
        return len(self.source) + len(self.target)

    def to(self, device: torch.device | str) -> "Pair":
        return Pair(source=self.source.to(device), target=self.target.to(device))


@dataclass(frozen=True, kw_only=True)
class Domains:
    """Every training sentence of both domains once, in the order of their readers; the source has masks.

    Each side can be iterated over again; every time is one pass.
    """

    source: Iterable[Batch]
    target: Iterable[Batch]

    def to(self, device: torch.device | str) -> "Domains":
        return Domains(source=_Moved(self.source, device), target=_Moved(self.target, device))


@dataclass(frozen=True, kw_only=True)
class Output:
    """Mask logits at the size of `batch.images`, and what was asked for beside them.

    `presence` are the logits of a presence head: that the referent is in the image. `features` are named tensors that
    losses are computed from; `evidence` are named maps for people, without gradients, that no loss reads.
    """

    logits: Float[Tensor, "b h w"]
    presence: Float[Tensor, " b"] | None = None
    features: Mapping[str, Any] = field(default_factory=dict)  # tensors, or lists of tensors
    evidence: Mapping[str, Tensor] = field(default_factory=dict)

    def float(self) -> "Output":
        """The same in single precision, which losses are computed in."""
        presence = None if self.presence is None else self.presence.float()
        features = {name: _single(value) for name, value in self.features.items()}
        return replace(self, logits=self.logits.float(), presence=presence, features=features)


@dataclass(frozen=True)
class _Moved:
    """Batches that are moved to a device one after the other."""

    batches: Iterable[Batch]
    device: torch.device | str

    def __iter__(self) -> Iterator[Batch]:
        return (batch.to(self.device) for batch in self.batches)


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(each, device) for name, each in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_single(each) for each in value]
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
