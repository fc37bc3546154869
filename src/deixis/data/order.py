"""The order of the samples of one epoch, as a function of the seed and the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int

from ..errors import InputError
from ..records import Ids

Draw = Literal["object", "sentence", "image"]


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Positions into `ids`, cut into the batches of an epoch.

    An epoch draws one sentence of each `object`, as published, or of each `image`, or each `sentence` once; up to
    `sentences_per_image` of one image follow each other. With `distinct_images` no image is twice in a batch: an image
    with more sentences than the epoch has batches loses some, others in each epoch. Sentences that do not fill a batch
    at the end are left out. Raises `InputError` where not one batch can be filled.
    """

    ids: Sequence[Ids]
    batch_size: int
    sentences_per_image: int
    draw: Draw
    distinct_images: bool
    seed: int

    def __post_init__(self) -> None:
        if self.distinct_images and self.sentences_per_image != 1:
            raise InputError(
                f"Batches of distinct images cannot hold {self.sentences_per_image} sentences of each image; "
                "set sentences_per_image to 1."
            )
        if self.steps < 1 and self.distinct_images:
            raise InputError(
                f"A batch of {self.batch_size} distinct images needs as many, but the data set has only "
                f"{len(self._drawn_per_image)} images; choose a smaller batch or a larger data set."
            )
        if self.steps < 1:
            raise InputError(
                f"An epoch has {int(self._drawn_per_image.sum())} expressions, too few for one batch of "
                f"{self.batch_size}; choose a smaller batch or a larger data set."
            )

    @cached_property
    def steps(self) -> int:
        """Batches per epoch."""
        most = int(self._drawn_per_image.sum()) // self.batch_size
        if not self.distinct_images:
            return most
        # T batches need T · batch_size sentences, of which each image gives at most T.
        fewest = 0
        while fewest < most:
            steps = (fewest + most + 1) // 2
            if np.minimum(self._drawn_per_image, steps).sum() >= steps * self.batch_size:
                fewest = steps
            else:
                most = steps - 1
        return fewest

    def batches(self, epoch: int) -> Int[np.ndarray, "steps batch_size"]:
        generator = np.random.default_rng([self.seed, epoch])
        keys = generator.random(len(self.ids))
        drawn = np.arange(len(self.ids)) if self.draw == "sentence" else _one_of_each(self._group, keys)
        order = self._distinct if self.distinct_images else self._chunked
        return order(drawn, keys, generator)

    def _chunked(self, drawn: np.ndarray, keys: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Chunks of one image's sentences, in random order."""
        by_image = drawn[np.lexsort((keys[drawn], self._image[drawn]))]
        chunk = np.cumsum(_rank(self._image[by_image]) % self.sentences_per_image == 0) - 1
        turn = generator.permutation(chunk[-1] + 1)
        order = by_image[np.argsort(turn[chunk], kind="stable")]
        return order[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)

    def _distinct(self, drawn: np.ndarray, keys: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Sentences sorted by image are dealt to the batches in turn, so an image's sentences get different batches."""
        turn = generator.permutation(len(self._drawn_per_image))
        by_image = drawn[np.lexsort((keys[drawn], turn[self._image[drawn]]))]
        dealt = by_image[_rank(self._image[by_image]) < self.steps][: self.steps * self.batch_size]
        return dealt.reshape(self.batch_size, self.steps).T[generator.permutation(self.steps)]

    @cached_property
    def _image(self) -> np.ndarray:
        return _numbered([each.image for each in self.ids])

    @cached_property
    def _group(self) -> np.ndarray:
        """What one sentence is drawn of."""
        if self.draw == "image":
            return self._image
        return _numbered([(each.image, each.object) for each in self.ids])

    @cached_property
    def _drawn_per_image(self) -> np.ndarray:
        """The number of sentences that an epoch draws of each image."""
        if self.draw == "sentence":
            return np.bincount(self._image)
        _, first = np.unique(self._group, return_index=True)
        return np.bincount(self._image[first])


def _numbered(names: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _one_of_each(group: np.ndarray, keys: np.ndarray) -> np.ndarray:
    order = np.lexsort((keys, group))
    return order[np.flatnonzero(np.diff(group[order], prepend=-1))]


def _rank(image: np.ndarray) -> np.ndarray:
    """The number of earlier positions in the same run of equal values."""
    starts = np.flatnonzero(np.diff(image, prepend=-1))
    return np.arange(len(image)) - np.repeat(starts, np.diff(starts, append=len(image)))
