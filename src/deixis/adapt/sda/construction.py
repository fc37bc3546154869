"""Content-aware semantic modelling (SDA, Section 3.2): contents of every training sentence, and the categories of both.

- the source's contents come from its masks (Eq. 1), the target's from the predictor of the words' weights
- the source is clustered; each target sample takes a source category or, beyond the entropy ρ, a new one (Eq. 2)
- the rows of Table 4 and of Table 7 are options
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ...batch import Batch, Domains, Output
from ...errors import InputError
from ...layers.domains import photo_cells
from ...losses import cell_masks
from ...vision.slic import MEAN, STD
from .categories import Categories, Clusters, TargetCategories, assign, categorise
from .contents import Average, WordPredictor, contents, guided_attention
from .contrast import reliable
from .predictor import real_words
from .structure import SemanticStructure, image_keys, keys_of, sample_keys

ContentKind = Literal["attention", "words", "visual"]
WordFeatures = Literal["embeddings", "query"]
SHOWN, SIDE = 2_000, 96  # thumbnails that are kept of a domain, and their longer side in pixels


@dataclass(frozen=True, kw_only=True)
class ContentOptions:
    """What a sample is about.

    - `kind` (Table 4): `attention`, words weighted by Eq. 1; `words`, their mean; `visual`, the foreground's mean
    - `features` (Table 7): of the words, their embeddings W or the encoded query Q
    - `has_predictor` (Table 4): without it a target's words are weighted by its own attention under its pseudo mask
    - `temperature` is τ (Figure 5), `average` what Eq. 1 divides by, `high` the threshold of pseudo masks
    """

    kind: ContentKind = "attention"
    features: WordFeatures = "embeddings"
    has_predictor: bool = True
    temperature: float = 0.2
    average: Average = "foreground"
    high: float = 0.9

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 < self.high < 1:
            raise InputError(
                f"The temperature of contents is {self.temperature} and the threshold of pseudo masks {self.high}; "
                "expected a positive number and a probability."
            )

    @property
    def needs_predictor(self) -> bool:
        return self.kind == "attention" and self.has_predictor


@dataclass(frozen=True, kw_only=True)
class CategoryOptions:
    """`boundary` is β in ρ = β log k^s (Figure 6); None rejects no target sample (Table 4, "w/o boundary").

    `similarity_temperature` divides the cosines of Eq. 2; None is the literal formula. `is_single` puts all samples
    into one category (Table 3, without CSM).
    """

    clusters: Clusters = field(default_factory=Clusters)
    boundary: float | None = 0.5
    similarity_temperature: float | None = 0.1
    is_single: bool = False


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a sample, its mask where it has one, and its expression."""

    pixels: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"] | None
    expression: str


@dataclass(frozen=True, kw_only=True)
class DomainContents:
    """The contents H of one domain's sentences, in the order of its reader.

    `word_ids` and `word_weights` are padded with 0; `foreground` is the mean of V over the foreground's cells, in half
    precision, and `num_cells` their number.
    """

    keys: Int64[np.ndarray, " n"]
    images: Int64[np.ndarray, " n"]
    contents: Float[np.ndarray, "n e"]
    word_ids: Int64[np.ndarray, "n l"]
    word_weights: Float[np.ndarray, "n l"]
    foreground: Float[np.ndarray, "n d"]
    num_cells: Int64[np.ndarray, " n"]
    expressions: tuple[str, ...]
    thumbnails: dict[int, Thumbnail]  # by the number of the sample


@dataclass(frozen=True, kw_only=True)
class Construction:
    """Both domains' contents and the structure that was found; `prototypes` are those of the source's categories."""

    source: DomainContents
    target: DomainContents
    structure: SemanticStructure
    prototypes: Float[np.ndarray, "k e"]
    common_fraction: float


def construct(
    system: Any,
    domains: Domains,
    predictor: WordPredictor | None,
    around: tuple[int, ...],
    options: ContentOptions,
    categories: CategoryOptions,
) -> Construction:
    """One pass over both domains, then the categories. The system is run as it is, in eval mode and without gradients.

    Raises `InputError` for a domain without sentences, a single category, and 0 % or 100 % common targets.
    """
    source = gather_contents(system, domains.source, None, around, options, is_source=True)
    target = gather_contents(system, domains.target, predictor, around, options, is_source=False)
    found, assigned = _categories(source, target, categories)
    structure = SemanticStructure(
        source_keys=source.keys,
        source_labels=found.labels,
        target_keys=target.keys,
        target_labels=assigned.labels,
        target_images=target.images,
        num_source=len(found.prototypes),
        num_new=assigned.num_new,
        common=assigned.common,
    )
    return Construction(
        source=source,
        target=target,
        structure=structure,
        prototypes=found.prototypes,
        common_fraction=assigned.common_fraction,
    )


def _categories(
    source: DomainContents, target: DomainContents, options: CategoryOptions
) -> tuple[Categories, TargetCategories]:
    if options.is_single:
        one = np.ones((1, source.contents.shape[1]))
        everywhere = np.ones(len(target.keys), bool)
        labels = np.zeros(len(target.keys), np.int64)
        found = Categories(np.zeros(len(source.keys), np.int64), one)
        return found, TargetCategories(labels, everywhere, (0,), 0)
    found = categorise(source.contents, options.clusters)
    assigned = assign(
        target.contents,
        found,
        boundary=np.inf if options.boundary is None else options.boundary,
        temperature=options.similarity_temperature,
        clusters=options.clusters,
    )
    return found, assigned


def visual_prototypes(
    domain: DomainContents, labels: Int64[np.ndarray, " n"], num_categories: int
) -> Float[np.ndarray, "k d"]:
    """U^s of Eq. 3 at its start: the mean of V over the foreground's cells of each category; 0 without a cell."""
    sums = np.zeros((num_categories, domain.foreground.shape[1]))
    counts = np.zeros((num_categories, 1))
    for label, mean, count in zip(labels, domain.foreground, domain.num_cells, strict=True):
        sums[label] += mean.astype(np.float64) * count
        counts[label] += count
    return sums / np.maximum(counts, 1)


@torch.no_grad()
def gather_contents(
    system: Any,
    batches: Iterable[Batch],
    predictor: WordPredictor | None,
    around: tuple[int, ...],
    options: ContentOptions,
    *,
    is_source: bool,
) -> DomainContents:
    """One pass over a domain. The source's foreground is its masks', the target's that of its pseudo masks."""
    parts: list[dict[str, Any]] = []
    pictures = _Pictures(SHOWN)
    features = ("embeddings", "visual", "attention", *(("query",) if options.features == "query" else ()))
    for batch in batches:
        if is_source and batch.masks is None:
            raise InputError(
                "The source has samples without masks; adaptation needs a source whose samples have masks."
            )
        output = system(batch, features=features).float()
        pictures.add(batch)
        parts.append(_of_batch(output, batch, None if is_source else predictor, around, options))
    if not parts:
        raise InputError(f"The {'source' if is_source else 'target'} has no expression; give it images with sentences.")
    longest = max(part["word_ids"].shape[1] for part in parts)
    for part in parts:
        for name in ("word_ids", "word_weights"):
            part[name] = np.pad(part[name], ((0, 0), (0, longest - part[name].shape[1])))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "expressions"}
    expressions = tuple(expression for part in parts for expression in part["expressions"])
    return DomainContents(**arrays, expressions=expressions, thumbnails=pictures.found())


def _of_batch(
    output: Output, batch: Batch, predictor: WordPredictor | None, around: tuple[int, ...], options: ContentOptions
) -> dict[str, Any]:
    visual = output.features["visual"]
    foreground = _foreground(output, batch, options.high)
    cells = rearrange(visual, "b d y x -> b (y x) d")
    mean = (cells * foreground[..., None]).sum(dim=1) / foreground.sum(1, keepdim=True).clamp(min=1)
    is_word = real_words(batch, around)
    length = batch.token_ids.shape[1]
    embeddings = output.features[options.features][:, :length]
    weights = _word_weights(output, batch, foreground, predictor, is_word, options)
    if options.kind == "visual":
        found = mean
    elif options.kind == "words":
        found = contents(torch.zeros_like(weights), embeddings, is_word)  # equal weights
    else:
        found = contents(weights, embeddings, is_word, options.temperature)  # Eq. 1
    sharpened = (weights / options.temperature).masked_fill(~is_word, float("-inf")).softmax(dim=-1)
    return {
        "keys": sample_keys(batch).cpu().numpy(),
        "images": image_keys(batch).cpu().numpy(),
        "contents": found.cpu().numpy(),
        "word_ids": batch.token_ids.cpu().numpy() * is_word.cpu().numpy(),
        "word_weights": (sharpened * is_word).cpu().numpy(),
        "foreground": mean.half().cpu().numpy(),
        "num_cells": foreground.sum(1).cpu().numpy(),
        "expressions": batch.expressions,
    }


def _word_weights(
    output: Output,
    batch: Batch,
    foreground: Bool[Tensor, "b n"],
    predictor: WordPredictor | None,
    is_word: Bool[Tensor, "b l"],
    options: ContentOptions,
) -> Float[Tensor, "b l"]:
    """ᾱ: of a source sample guided by its mask; of a target sample predicted, or guided by its pseudo mask."""
    if predictor is None:
        return guided_attention(output.features["attention"], foreground, options.average)
    return predictor(output.features["embeddings"], is_word)


def _foreground(output: Output, batch: Batch, high: float) -> Bool[Tensor, "b n"]:
    """The cells of the mask; without masks those of the pseudo mask, and at least the most probable cell."""
    height, width = output.features["visual"].shape[-2:]
    if batch.masks is not None:
        return cell_masks(batch.masks, (height, width)).flatten(1)
    probabilities = F.interpolate(output.logits.sigmoid()[:, None], size=(height, width), mode="area").flatten(1)
    probabilities = probabilities * photo_cells(batch, (height, width))
    best = probabilities == probabilities.amax(dim=1, keepdim=True)
    return reliable(probabilities, high)[0] | best


class _Pictures:
    """Thumbnails of the samples with the smallest hashes: a fixed choice, spread evenly over the domain."""

    def __init__(self, most: int) -> None:
        self.most, self.count = most, 0
        self.heap: list[tuple[int, int, Thumbnail]] = []

    def add(self, batch: Batch) -> None:
        images = batch.target_frames()
        for row, ids in enumerate(batch.ids):
            place = -int(keys_of([f"picture {ids.image} {ids.object} {ids.sentence}"])[0])
            if len(self.heap) < self.most or place > self.heap[0][0]:
                image = row if batch.image_index is None else int(batch.image_index[row])
                mask = None if batch.masks is None else batch.masks[row].cpu().numpy()
                entry = (place, self.count + row, _thumbnail(images[image], mask, batch.expressions[row]))
                heapq.heappush(self.heap, entry) if len(self.heap) < self.most else heapq.heapreplace(self.heap, entry)
        self.count += len(batch.ids)

    def found(self) -> dict[int, Thumbnail]:
        return {number: picture for _, number, picture in sorted(self.heap, key=lambda entry: entry[1])}


def _thumbnail(image: Float[Tensor, "3 h w"], mask: Bool[np.ndarray, "h w"] | None, expression: str) -> Thumbnail:
    """Without the padding at the right and at the bottom, by whole steps of pixels."""
    mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (MEAN, STD))
    is_photo = (image != 0).any(dim=0)
    height = int(is_photo.any(1).nonzero().max()) + 1 if is_photo.any() else image.shape[1]
    width = int(is_photo.any(0).nonzero().max()) + 1 if is_photo.any() else image.shape[2]
    stride = max(1, -(-max(height, width) // SIDE))
    colours = ((image.float() * std + mean) * 255).round().clip(0, 255).to(torch.uint8)
    pixels = rearrange(colours[:, :height:stride, :width:stride], "c h w -> h w c").cpu().numpy()
    return Thumbnail(pixels, None if mask is None else mask[:height:stride, :width:stride].copy(), expression)
