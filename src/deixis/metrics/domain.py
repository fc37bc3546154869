"""The domain of a model: statistics of the features of its training images, and how far another image is from them.

Features are standardised; their covariance is kept along its largest axes, and one variance for all others
(probabilistic principal components). The distance is Mahalanobis's, with limits set on images that were held out.
Photographs differ so much among each other that drawings lie between them: where images of another kind are given, an
image that is more probable among those is outside, too.
"""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..errors import InputError

AXES = 64
FEWEST = 40  # images below which nothing is fitted
EVERY = 4  # every fourth image sets the limit
QUANTILE, MARGIN = 0.99, 1.25  # of the held-out images' distances


@dataclass(frozen=True, kw_only=True)
class DomainStatistics:
    """Statistics of `images` images of `data`; `numbers` are float16 in base64: means, deviations, variances, axes.

    An image is outside where its distance is above `limit`, or where it is more probable among `others`, images of
    another kind. `known_outside` is the fraction of answers that was measured to be right there, and caps the score of
    an answer; where nothing was measured it is a half.
    """

    width: int  # of the features
    axes: int
    numbers: str
    rest: float  # the variance along all other axes
    limit: float
    images: int
    data: str
    known_outside: float = 0.5
    others: "DomainStatistics | None" = None

    def __post_init__(self) -> None:
        numbers = [self.rest, self.limit, self.known_outside]
        try:
            count = len(b64decode(self.numbers, validate=True)) // 2
        except (binascii.Error, ValueError):
            count = -1
        is_right = self.width >= 1 and 0 <= self.axes <= self.width and count == _count(self.width, self.axes)
        if not is_right or not np.isfinite(numbers).all() or min(self.rest, self.limit) <= 0:
            raise InputError(
                f"The domain statistics hold {count} numbers for {self.width} features and {self.axes} axes, variance "
                f"{self.rest} and limit {self.limit}; expected {_count(self.width, self.axes)} numbers and positive "
                "values: get an unchanged copy of the checkpoint."
            )

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        plain = np.frombuffer(b64decode(self.numbers), dtype="<f2").astype(np.float64)
        mean, deviation, variances, axes = np.split(plain, np.cumsum([self.width, self.width, self.axes]))
        return mean, deviation, variances, axes.reshape(self.width, self.axes)

    def distance(self, features: Float[np.ndarray, "i d"]) -> Float[np.ndarray, " i"]:
        """Of each image, as a multiple of the limit."""
        own = self._squared(features) / self.limit
        if self.others is None:
            return own
        nearer = self.others.log_likelihood(features) - self.log_likelihood(features)
        return np.where(nearer > 0, np.maximum(own, 1 + nearer / self.limit), own)

    def log_likelihood(self, features: Float[np.ndarray, "i d"]) -> Float[np.ndarray, " i"]:
        """Of each image under a Gaussian of these statistics, without the constant of the width."""
        _, deviation, variances, _ = self._parts
        volume = np.log(variances).sum() + (self.width - self.axes) * np.log(self.rest) + 2 * np.log(deviation).sum()
        return -0.5 * (self._squared(features) + volume)

    def _squared(self, features: Float[np.ndarray, "i d"]) -> Float[np.ndarray, " i"]:
        mean, deviation, variances, axes = self._parts
        standard = (features.astype(np.float64) - mean) / deviation
        along = standard @ axes
        beside = np.maximum((standard**2).sum(1) - (along**2).sum(1), 0)
        return (along**2 / variances).sum(1) + beside / self.rest


def fit(
    features: Float[np.ndarray, "i d"],
    data: str,
    known_outside: float = DomainStatistics.known_outside,
    axes: int = AXES,
) -> DomainStatistics | None:
    """The statistics of images in any order, every fourth of which sets the limit; None for fewer than 40.

    `axes` are the largest number of them that is kept.
    """
    if len(features) < FEWEST or not np.isfinite(features).all():
        return None
    is_held = np.arange(len(features)) % EVERY == EVERY - 1
    fitted = features[~is_held].astype(np.float64)
    width, axes = features.shape[1], min(axes, features.shape[1], len(fitted) // 8)
    deviation = np.maximum(fitted.std(0), 1e-3)
    variances, vectors = np.linalg.eigh(np.cov(((fitted - fitted.mean(0)) / deviation).T))
    variances, vectors = np.maximum(variances[::-1], 1e-3), vectors[:, ::-1]
    rest = float(variances[axes:].mean()) if axes < width else 1.0
    kept = np.concatenate([fitted.mean(0), deviation, variances[:axes], vectors[:, :axes].ravel()])
    found = DomainStatistics(
        width=width,
        axes=axes,
        numbers=b64encode(kept.astype("<f2").tobytes()).decode(),
        rest=rest,
        limit=1.0,
        images=len(features),
        data=data,
        known_outside=known_outside,
    )
    limit = float(np.quantile(found.distance(features[is_held]), QUANTILE)) * MARGIN
    return replace(found, limit=limit)


def _count(width: int, axes: int) -> int:
    return 2 * width + axes + width * axes
