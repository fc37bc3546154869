"""Entities of a few Toyland scenes as pictures: Figures A1 to A3 of SaG's supplement, for a model that is given."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from deixis import masks, viz
from deixis.metrics.scored import label_of
from deixis.records import Sample
from deixis.toyland.world import Toyland

SCENES = 6
SIDE = 168  # pixels of a panel
NEAREST = Image.Resampling.NEAREST


def draw(segmenter: Any, folder: Path) -> None:
    """One sheet: a row for a scene and one of its expressions."""
    world = Toyland(split="val", subset="toyland", num_scenes=SCENES)
    rows = [_row(segmenter, world.scene(number)[0]) for number in range(SCENES)]
    folder.mkdir(parents=True, exist_ok=True)
    sheet = viz.stack(rows)
    sheet.save(folder / "sag_entities.png")


def _row(segmenter: Any, sample: Sample) -> Image.Image:
    """Target, prediction, all entities, and the three most relevant ones with their relevance."""
    photo = _small(sample.visual.read([sample.frame])[0])
    prediction = segmenter(sample.visual.read([sample.frame])[0], sample.expression, explain=True)
    target = masks.resize(masks.decode(label_of(sample)), SIDE, SIDE)
    entities, relevance = prediction.evidence["entities"], prediction.evidence["relevance"]
    panels = [
        (masks.paint(photo, target, (64, 160, 255)), sample.expression),
        (masks.paint(photo, masks.resize(prediction.mask, SIDE, SIDE)), "mask"),
        (_borders(photo, entities, segmenter.system.config.samples), "entities"),
    ]
    for position in np.argsort(-relevance)[:3].tolist():
        panels.append((viz.heat(photo, entities[position]), f"relevance {relevance[position]:.2f}"))
    return viz.strip(panels)


def _borders(
    photo: UInt8[np.ndarray, "h w 3"], entities: Float[np.ndarray, "k y x"], samples: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The border of what each entity holds most of, in the colour of its Gaussian."""
    holder: Int[np.ndarray, "y x"] = entities.argmax(0).astype(np.uint8)
    large = np.asarray(Image.fromarray(holder).resize((SIDE, SIDE), NEAREST))
    drawn = photo.copy()
    for number in np.unique(large).tolist():
        colour = viz.PALETTE[number // samples % len(viz.PALETTE)]
        drawn[masks.outline(large == number)] = colour
    return drawn


def _small(photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
