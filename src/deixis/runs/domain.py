"""The statistics of a run's training images in the cards of its checkpoints; a run never fails by them."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..checkpoints import native
from ..metrics.domain import FEWEST
from ..predict.domain import statistics_of
from ..records import Reader
from ..zoo.loading import load
from ..zoo.systems import ENCODERS, SYSTEMS, name_of
from .run import Run

logger = logging.getLogger(__name__)
PLACES = ("best", "last")


def write_domain(out: Path, run: Run, training: Reader) -> None:
    """Add the statistics to the run's checkpoints, where it has images enough and its system an image encoder."""
    if not run.domain_images or name_of(run.system) in ENCODERS:
        return
    own = None if name_of(run.system) in SYSTEMS else type(run.system)
    try:
        for place in (out / name for name in PLACES if (out / name / native.WEIGHTS).exists()):
            segmenter = load(place, system=own)
            photos = spread_images(training, run.domain_images)
            found = statistics_of(segmenter.system, segmenter.preprocess, photos, "the training images")
            if found is None:
                return
            native.write_card(place, replace(native.read_card(place), domain_statistics=found))
    except Exception as error:  # the weights are trained and stored; a card without statistics is a whole card
        logger.warning("The card gets no statistics of the training images: %s", error)


def spread_images(reader: Reader, count: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The middle frames of at most `count` different images of a split, evenly spread; none where there are too few."""
    first = {ids.image: position for position, ids in reversed([*enumerate(reader.ids)])}
    positions = sorted(first.values())
    if len(positions) < FEWEST:
        return
    for place in np.linspace(0, len(positions) - 1, min(count, len(positions))).round().astype(int):
        visual = reader[positions[place]].visual
        yield visual.read([visual.num_frames // 2])[0]
