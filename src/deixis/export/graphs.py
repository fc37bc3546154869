"""A system as networks of tensors alone: what an exported file computes, with the text as an input.

- most systems are one graph: each expression comes with an image of its own, `b` of them, any number
- a system that implements `EncodesImages` is two: `Encode` reads images, `Answer` any number of expressions about one
  encoded image; a system whose `regions_of` finds superpixels reads their labels as an input
- `Domain` is what the statistics of a model's training images are compared with
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..batch import Batch, Output
from ..data.transforms import Preprocess
from ..predict.domain import domain_moments
from ..predict.exported import REGIONS
from ..system import EncodesImages

EXAMPLES = 2  # images and expressions that a graph is traced with; with one, the number would be a constant


@dataclass(frozen=True)
class Graph:
    """A network, the arguments it is traced with, and their names; `is_free` says whose first axis has any length."""

    network: nn.Module
    arguments: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_free: tuple[bool, ...]


def graphs(system: nn.Module, preprocess: Preprocess, num_tokens: int) -> list[Graph]:
    """The graphs of a system in evaluation without gradients; `num_tokens` is the size of its vocabulary."""
    side, length, frames = preprocess.image_size, preprocess.max_tokens, preprocess.num_frames
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(EXAMPLES, frames, 3, side, side, generator=generator)
    token_ids = torch.randint(num_tokens, (EXAMPLES, length), generator=generator)
    token_mask = torch.ones(EXAMPLES, length, dtype=torch.bool)
    outputs = ("logits", "presence") if getattr(getattr(system, "config", None), "presence", False) else ("logits",)
    texts = ("token_ids", "token_mask")
    if not isinstance(system, EncodesImages):
        arguments = (images, token_ids, token_mask)
        return [Graph(Whole(system), arguments, ("images", *texts), outputs, (True, True, True))]
    sources: tuple[Tensor, ...] = (images,)
    if (regions_of := getattr(system, "regions_of", None)) is not None:
        sources = images, regions_of(images[:, frames // 2])
    with torch.no_grad():
        encoded = system.encode_images(*(each[:1] for each in sources))
    features = tuple(tensors_in(encoded))
    names = tuple(f"feature{number}" for number in range(len(features)))
    answer = Answer(system, encoded, (frames, side))
    return [
        Graph(Encode(system), sources, ("images", REGIONS)[: len(sources)], names, (True,) * len(sources)),
        Graph(
            answer,
            (token_ids, token_mask, *features),
            (*texts, *names),
            outputs,
            (True, True, *[False] * len(features)),
        ),
    ]


def domain_graph(system: nn.Module, preprocess: Preprocess) -> Graph:
    """The features of one image that show whether it is of the model's domain."""
    image = torch.randn(1, 3, preprocess.image_size, preprocess.image_size, generator=torch.Generator().manual_seed(0))
    return Graph(Domain(system), (image,), ("images",), ("moments",), (False,))


class Domain(nn.Module):
    """An image to the moments of the system's `domain_map`."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system

    def forward(self, images: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 d"]:
        moments = domain_moments(self.system, images)
        assert moments is not None  # a model with statistics has them
        return moments


class Whole(nn.Module):
    """Images and expressions to logits."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system

    def forward(
        self, images: Float[Tensor, "b t 3 h w"], token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Tensor, ...]:
        return _heads(self.system(Batch(images=images, token_ids=token_ids, token_mask=token_mask)))


class Encode(nn.Module):
    """Images to the tensors of what the system encodes them as."""

    def __init__(self, system: Any) -> None:
        super().__init__()
        self.system = system

    def forward(
        self, images: Float[Tensor, "i t 3 h w"], regions: Int[Tensor, "i h w"] | None = None
    ) -> tuple[Tensor, ...]:
        given = () if regions is None else (regions,)
        return tuple(tensors_in(self.system.encode_images(images, *given)))


class Answer(nn.Module):
    """Expressions about one encoded image to logits; `encoded` is an example of its structure."""

    def __init__(self, system: Any, encoded: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.system, self.encoded, self.size = system, encoded, size

    def forward(
        self, token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"], *features: Tensor
    ) -> tuple[Tensor, ...]:
        frames, side = self.size
        batch = Batch(
            images=torch.zeros(1, frames, 3, side, side),  # of which the size alone is read
            token_ids=token_ids,
            token_mask=token_mask,
            image_index=torch.zeros_like(token_ids[:, 0]),
        )
        return _heads(self.system.decode_expressions(rebuilt(self.encoded, iter(features)), batch))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of a dataclass, a list or a tuple, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from tensors_in(getattr(value, each.name))


def rebuilt(example: Any, tensors: Iterator[Tensor]) -> Any:
    """A value of the example's structure with these tensors."""
    if isinstance(example, Tensor):
        return next(tensors)
    if isinstance(example, list | tuple):
        return type(example)(rebuilt(each, tensors) for each in example)
    if is_dataclass(example):
        kind: Any = type(example)
        parts = {each.name: rebuilt(getattr(example, each.name), tensors) for each in fields(example)}
        return kind(**parts)
    return example


def _heads(output: Output) -> tuple[Tensor, ...]:
    return (output.logits,) if output.presence is None else (output.logits, output.presence)
