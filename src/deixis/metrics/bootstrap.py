"""Bootstrap over images: scores of expressions about one image are not independent, so whole images are drawn.

Draws come from a seeded generator and depend on the number of images only. Two results over the same images therefore
have the same draws, and their difference is a paired one.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

DRAWS = 10_000
LEVEL = 0.95
CHUNK_CELLS = 1 << 20  # weights held at once: draws x images


def image_weights(num_images: int, *, draws: int = DRAWS, seed: int = 0) -> Iterator[Float[np.ndarray, "_ images"]]:
    """How often each image is in each draw, a few draws at a time."""
    if num_images < 1 or draws < 1:
        raise ValueError(f"There are {num_images} images and {draws} draws; a bootstrap needs at least one of each.")
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK_CELLS // num_images)
    for start in range(0, draws, chunk):
        here = min(chunk, draws - start)
        drawn = generator.integers(num_images, size=(here, num_images), dtype=np.int64)
        drawn += np.arange(here)[:, None] * num_images
        counts = np.bincount(drawn.ravel(), minlength=here * num_images)
        yield counts.reshape(here, num_images).astype(np.float64)


def resampled_sums(
    table: Float[np.ndarray, "images columns"], *, draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "draws columns"]:
    """The column sums of every draw."""
    return np.concatenate([weights @ table for weights in image_weights(len(table), draws=draws, seed=seed)])


def ratio(
    numerator: Float[np.ndarray, " draws"], denominator: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    """Their quotients; NaN in the draws where nothing was counted."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def interval(values: Float[np.ndarray, " draws"], *, level: float = LEVEL) -> tuple[float, float] | None:
    """The central interval of the draws; None where no draw counted anything."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def two_sided_p(differences: Float[np.ndarray, " draws"]) -> float | None:
    """Twice the fraction of draws with the rarer sign of the difference: at least 1/draws, at most 1."""
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return None
    smaller = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, max(2 * smaller, 1) / len(differences))
