"""Categories of contents, and which of them the target shares (SDA, Section 3.2 "Semantic Construction" and Eq. 2).

Contents are compared by cosine. The paper's reference for "agglomerative clustering" is graph degree linkage, but its
description, a distance threshold and no number of clusters, is that of scikit-learn's, which is used here.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ...errors import InputError, ModelError

Clustering = Literal["agglomerative", "k-means", "spectral"]


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """How contents are grouped: by a distance threshold, or (Table 6) into a given number of clusters."""

    method: Clustering = "agglomerative"
    threshold: float = 0.5  # cosine distance, average linkage
    count: int = 100  # of k-means and spectral clustering
    most: int = (
        10_000  # contents that are clustered; the rest takes the nearest prototype: distances grow quadratically
    )
    seed: int = 0


@dataclass(frozen=True)
class Categories:
    """The category of each content, from 0, and the prototypes, means of unit length."""

    labels: Int[np.ndarray, " n"]
    prototypes: Float[np.ndarray, "k e"]


@dataclass(frozen=True)
class TargetCategories:
    """The category of each target sample: a source category, or a new one from k^s on.

    `is_common` tells the samples that take a source category; `common` are the k^t source categories that any takes.
    """

    labels: Int[np.ndarray, " n"]
    is_common: Bool[np.ndarray, " n"]
    common: tuple[int, ...]
    num_new: int

    @property
    def common_fraction(self) -> float:
        return float(self.is_common.mean())


def categorise(contents: Float[np.ndarray, "n e"], clusters: Clusters | None = None) -> Categories:
    """Cluster contents. Categories are numbered in the order of their first content."""
    clusters = clusters or Clusters()
    directions = unit(contents)
    chosen = np.arange(len(directions))
    if len(directions) > clusters.most:
        chosen = np.sort(np.random.default_rng(clusters.seed).choice(len(directions), clusters.most, replace=False))
    found = _clustered(directions[chosen], clusters)
    _, first, numbered = np.unique(found, return_index=True, return_inverse=True)
    labels = np.argsort(np.argsort(first))[numbered]
    prototypes = unit(np.stack([directions[chosen][labels == each].mean(0) for each in range(len(first))]))
    every = (directions @ prototypes.T).argmax(1)
    every[chosen] = labels
    return Categories(every.astype(np.int64), prototypes)


def similarities(
    contents: Float[np.ndarray, "n e"], prototypes: Float[np.ndarray, "k e"], temperature: float | None = 0.1
) -> Float[np.ndarray, "n k"]:
    """Eq. 2: the softmax of each content's similarities to the prototypes.

    By default of cosines divided by a temperature. None is the literal formula, products without a temperature: at unit
    length every entropy is then near log k, and no target sample is common.
    """
    products = contents @ prototypes.T if temperature is None else unit(contents) @ unit(prototypes).T / temperature
    weights = np.exp(products - products.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def entropy(probabilities: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """In nats."""
    logarithms = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    return -(probabilities * logarithms).sum(1)


def assign(
    contents: Float[np.ndarray, "n e"],
    source: Categories,
    *,
    boundary: float = 0.5,
    temperature: float | None = 0.1,
    clusters: Clusters | None = None,
) -> TargetCategories:
    """The target's categories: below the entropy ρ = `boundary` · log k^s the nearest source category, else a new one.

    An infinite `boundary` makes every sample common (Table 4, "w/o boundary"). Raises `InputError` where the source has
    a single category, or where a finite boundary finds that none or all of the samples are common.
    """
    k = len(source.prototypes)
    if k < 2:
        raise InputError(
            "The source's expressions form a single category, which tells nothing apart; lower the distance threshold "
            "of the clustering, or use a source with more kinds of objects."
        )
    probabilities = similarities(contents, source.prototypes, temperature)
    spread = entropy(probabilities)
    is_common = spread < boundary * np.log(k)
    if np.isfinite(boundary) and is_common.all() == is_common.any():
        found = "100 %" if is_common.all() else "0 %"
        low, high = spread.min() / np.log(k), spread.max() / np.log(k)
        raise InputError(
            f"{found} of the target's samples are common with the source's {k} categories, so that the boundary "
            f"{boundary} separates nothing: their entropies are {low:.3g} to {high:.3g} of the largest one. "
            "Resume with a boundary between, --semantic.objective.categories.boundary, or with another "
            "similarity-temperature; the Runs before are kept."
        )
    labels = probabilities.argmax(1).astype(np.int64)
    num_new = 0
    if not is_common.all():
        new = categorise(contents[~is_common], clusters)
        labels[~is_common], num_new = k + new.labels, len(new.prototypes)
    return TargetCategories(labels, is_common, tuple(np.unique(labels[is_common]).tolist()), num_new)


def unit(rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Rows of length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _clustered(directions: Float[np.ndarray, "n e"], clusters: Clusters) -> Int[np.ndarray, " n"]:
    if len(directions) < 2:
        return np.zeros(len(directions), np.int64)
    try:
        from sklearn import cluster
    except ImportError:
        raise ModelError("Categories need scikit-learn; install it by: pip install 'deixis[sda]'.") from None
    count = min(clusters.count, len(np.unique(directions.round(6), axis=0)))  # equal sentences are one point
    method: Any
    if clusters.method == "agglomerative":
        method = cluster.AgglomerativeClustering(
            n_clusters=None, metric="cosine", linkage="average", distance_threshold=clusters.threshold
        )
    elif clusters.method == "k-means":
        method = cluster.KMeans(count, random_state=clusters.seed, n_init=10)
    else:
        method = cluster.SpectralClustering(count, affinity="cosine", random_state=clusters.seed)
    return method.fit_predict(directions)
