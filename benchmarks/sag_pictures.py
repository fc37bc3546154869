"""Pictures of entities: target, mask, all entities, and the most relevant ones (Figures A1 and A2 of SaG)."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deixis import masks, viz
from deixis.metrics.scored import label_of
from deixis.records import Sample
from deixis.toyland.world import Toyland

SCENES = 6
SIDE = 168  # pixels of a panel


def draw(segmenter: Any, path: Path) -> None:
    """One sheet with a row for a scene and one of its expressions."""
    world = Toyland(split="val", subset="toyland", num_scenes=SCENES)
    sheet = viz.stack([_row(segmenter, world.scene(number)[0]) for number in range(SCENES)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _row(segmenter: Any, sample: Sample) -> Image.Image:
    photo = sample.visual.read([sample.frame])[0]
    prediction = segmenter(photo, sample.expression, explain=True)
    entities = viz.entities_in(prediction.evidence)
    if entities is None:
        raise ValueError(f"{segmenter!r} has no entities; give a SaG.")
    small = np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    target = masks.resize(masks.decode(label_of(sample)), SIDE, SIDE)
    panels = [
        (masks.paint(small, target, (64, 160, 255)), sample.expression),
        (masks.paint(small, masks.resize(prediction.mask, SIDE, SIDE)), "mask"),
        *viz.all_entities(small, entities)[:1],
        *viz.top_entities(small, entities),
    ]
    return viz.strip(panels)
