"""The report's figures by the paper's numbers: 7 (features), 9 (masks), 11 (categories), 12 (word weights)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image

from deixis import masks, viz
from deixis.adapt.sda.contrast import reliable
from deixis.adapt.sda.predictor import trained_predictor
from deixis.adapt.sda.semantic_masks import read_masks
from deixis.adapt.sda.structure import CategoryLookup, SemanticStructure, sample_keys
from deixis.batch import Batch
from deixis.data.batches import EvalBatches
from deixis.losses import cell_masks
from deixis.predict.segmenter import Segmenter
from deixis.recipes.adapt import SOURCE
from deixis.recipes.sda import PREDICTOR, SDA, SEMANTIC
from deixis.records import Reader
from deixis.runs.data import Data
from deixis.runs.open_data import open_data
from deixis.runs.run import Run
from deixis.zoo.loading import load

POINTS, PICTURES, CATEGORIES, SENTENCES = 300, 12, 6, 10
GOLD, BLUE, RED = (240, 180, 20), (64, 160, 255), (255, 64, 64)


def draw_all(run: Run, row: Path, out: Path) -> list[Path]:
    """Write the figures of a finished row "SDA", whose folder is `row`; returns their files."""
    assert run.target is not None
    out.mkdir(parents=True, exist_ok=True)
    figures = {
        "figure-7-features": features_by_domain(run.data, run.target, row),
        "figure-9-masks": two_masks(run.target, row),
        "figure-11-categories": categories(row / SEMANTIC),
        "figure-12-words": word_weights(run.target, row),
    }
    files = []
    for name, picture in figures.items():
        picture.save(out / f"{name}.png")
        files.append(out / f"{name}.png")
    return files


def features_by_domain(source: Data, target: Data, row: Path) -> Image.Image:
    """Figure 7: the mean of V over each referent of both domains' validation splits, before and after, by t-SNE."""
    held = {"source": open_data(source)[1], "target": open_data(target)[1]}
    rows = []
    for when, name in (("source only", SOURCE), ("SDA", SDA)):
        segmenter = load(row / name / "last", device="cpu")
        groups = {f"{side}, {when}": referents(segmenter, reader, POINTS) for side, reader in held.items()}
        rows.append(viz.constellation(groups))
    return viz.stack(rows)


def referents(segmenter: Segmenter, reader: Reader, count: int) -> Float[np.ndarray, "_ d"]:
    """The mean of `visual` over the mask's cells, of samples whose mask has a cell."""
    found = []
    for batch in _batches(segmenter, reader, count):
        visual = _output(segmenter, batch, "visual").features["visual"]
        assert batch.masks is not None
        inside = cell_masks(batch.masks, (visual.shape[2], visual.shape[3])).flatten(1).float()
        sums = torch.einsum("bdn,bn->bd", rearrange(visual, "b d y x -> b d (y x)"), inside)
        has_cell = inside.sum(1) > 0
        found.append((sums[has_cell] / inside.sum(1)[has_cell, None]).numpy())
    return np.concatenate(found)


def two_masks(target: Data, row: Path) -> Image.Image:
    """Figure 9: of target images the true mask, the domain-based A and the semantic-based mask of the training.

    A is that of the published weights, because the teacher's are not kept.
    """
    segmenter = load(row / SDA / "last", device="cpu")
    structure, labels = SemanticStructure.load(row / SEMANTIC), CategoryLookup()
    labels.fill(structure.target_keys, structure.target_labels)
    panels = []
    for batch in _batches(segmenter, open_data(target)[0], PICTURES, batch_size=PICTURES):
        assert batch.masks is not None
        certain = reliable(_output(segmenter, batch).logits.sigmoid().flatten(1))[0]
        semantic = read_masks(batch, labels(sample_keys(batch)), row / SDA)
        images = batch.expand(batch.target_frames()).numpy()
        for number, expression in enumerate(batch.expressions):
            pixels = segmenter.preprocess.pixels(images[number])
            kinds = batch.masks[number], certain[number].reshape(pixels.shape[:2]), semantic[number]
            painted = [
                masks.paint(pixels, kind.numpy(), colour) for kind, colour in zip(kinds, (BLUE, RED, GOLD), strict=True)
            ]
            panels.append((np.concatenate(painted, axis=1), expression))
    return viz.strip(panels, columns=2)


def categories(semantic: Path) -> Image.Image:
    """Figure 11: the words and samples of the largest categories that both domains share, and of the new ones."""
    found = json.loads((semantic / "categories.json").read_text(encoding="utf-8"))["categories"]
    largest = sorted(found, key=lambda each: -each["target_samples"])
    rows = []
    for kind in ("shared", "new"):
        for each in [one for one in largest if one["kind"] == kind and "picture" in one][: CATEGORIES // 2]:
            words = each["target_words"] or each["source_words"]
            rows.append(viz.cloud([f"{kind}:", *words], np.array([0.0, *words.values()])))
            rows.append(Image.open(semantic / each["picture"]))
    return viz.stack(rows)


@torch.no_grad()
def word_weights(target: Data, row: Path) -> Image.Image:
    """Figure 12: target sentences, each word as large as the predictor weighs it."""
    segmenter = load(row / SDA / "last", device="cpu")
    system: Any = segmenter.system
    predictor = trained_predictor(row / PREDICTOR, system.feature_widths["embeddings"])
    rows = []
    for batch in _batches(segmenter, open_data(target)[1], SENTENCES):
        weights = predictor(_output(segmenter, batch, "embeddings").features["embeddings"], batch.token_mask)
        for number, expression in enumerate(batch.expressions):
            tokens = segmenter.tokenizer.tokens(expression, segmenter.preprocess.max_tokens)
            rows.append(viz.cloud(tokens, weights[number, : len(tokens)].numpy()))
    return viz.stack(rows)


@torch.no_grad()
def _output(segmenter: Segmenter, batch: Batch, *features: str) -> Any:
    return segmenter.system(batch, features=features).float()


def _batches(segmenter: Segmenter, reader: Reader, count: int, batch_size: int = 32) -> Iterator[Batch]:
    """`count` samples, evenly spread."""
    batches = EvalBatches(
        reader=reader,
        tokenizer=segmenter.tokenizer,
        preprocess=segmenter.preprocess,
        batch_size=batch_size,
        limit=count,
    )
    return batches.share()
