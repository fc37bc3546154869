"""Pictures of the parts that an image was divided into, as in SaG's Figures A1 to A3.

Entities are soft maps that share the cells of an image, each with its relevance to the expression. Entities that were
drawn from one Gaussian have frames of one colour. GroupViT's segments, with their margins, are drawn in the same way.
"""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from PIL import Image

from .. import masks
from ..errors import InputError
from .layout import GREY, PANEL, Colour, Pixels, paragraph, plain_name, stack, strip, title_line
from .maps import heat

RELEVANCE = {"entities": "relevance", "segments": "margin"}  # the evidence that holds maps, and what ranks them
GAUSSIAN = "gaussian"
FRAME = 5  # pixels
SAME = 1e-4  # the largest difference between maps of one Gaussian that count as equal


@dataclass(frozen=True, kw_only=True, eq=False)
class Entities:
    """The entities of one image, and the number of the Gaussian that each was drawn from, empty where there is none."""

    maps: Float[np.ndarray, "k y x"]  # sums to 1 over the entities
    relevance: Float[np.ndarray, " k"]
    gaussians: tuple[int, ...] = ()
    measure: str = "relevance"

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def order(self) -> list[int]:
        """From the most to the least relevant; of equally relevant ones the first comes first."""
        return np.argsort(-self.relevance, kind="stable").tolist()

    def merged(self) -> "Entities":
        """Equal entities of one Gaussian as one, with their total relevance.

        Without noise the entities of a Gaussian start from its mean, and stay equal.
        """
        kept: list[int] = []
        relevance = self.relevance.copy()
        for each, gaussian in enumerate(self.gaussians):
            same = [one for one in kept if self.gaussians[one] == gaussian and self._equal(one, each)]
            if same:
                relevance[same[0]] += relevance[each]
            else:
                kept.append(each)
        if not kept:
            return self
        numbers = tuple(self.gaussians[each] for each in kept)
        return Entities(maps=self.maps[kept], relevance=relevance[kept], gaussians=numbers, measure=self.measure)

    def _equal(self, one: int, other: int) -> bool:
        return bool(np.abs(self.maps[one] - self.maps[other]).max(initial=0) <= SAME)


def entities_in(evidence: Mapping[str, Shaped[np.ndarray, "..."]]) -> Entities | None:
    """The entities in a prediction's evidence, equal ones merged; None where the system has none."""
    for maps, measure in RELEVANCE.items():
        if maps in evidence and measure in evidence:
            gaussians = tuple(round(number) for number in evidence.get(GAUSSIAN, np.empty(0)).tolist())
            found = Entities(
                maps=evidence[maps], relevance=evidence[measure], gaussians=gaussians, measure=plain_name(measure)
            )
            return found.merged()
    return None


def is_of_entities(name: str) -> bool:
    """Whether the evidence of that name is part of the entities."""
    return name == GAUSSIAN or name in RELEVANCE or name in RELEVANCE.values()


def top_entities(image: Pixels, entities: Entities, count: int = 3) -> list[tuple[Pixels, str]]:
    """Figure A1: the most relevant entities over the image, each with its relevance, as panels for `strip`."""
    high = brightest(entities)
    return [
        (heat(image, entities.maps[each], 0.0, high), f"{entities.measure} {entities.relevance[each]:.2f}")
        for each in entities.order[:count]
    ]


def all_entities(image: Pixels, entities: Entities) -> list[tuple[Pixels, str]]:
    """Figure A2: where each entity is the largest, then every entity with its relevance, framed by its Gaussian."""
    high = brightest(entities)
    panels = [(_partition(image, entities), "all of them")]
    for each, maps in enumerate(entities.maps):
        panels.append(
            (framed(heat(image, maps, 0.0, high), _colour(entities, each)), f"{entities.relevance[each]:.2f}")
        )
    return panels


def entity_comparison(
    image: Pixels,
    mask_and_entities: Mapping[str, tuple[Bool[np.ndarray, "h w"], Entities]],
    expression: str,
    count: int = 10,
) -> Image.Image:
    """Figure A3: for each model by its name the mask and its most relevant entities, framed by their Gaussians."""
    if not mask_and_entities:
        raise InputError("There are no models to compare; give one or more.")
    height, width = (max(1, round(side * PANEL / max(image.shape[:2]))) for side in image.shape[:2])
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    rows = [title_line(f"“{expression}”")]
    for name, (mask, entities) in mask_and_entities.items():
        drawn = top_entities(small, entities, count)
        frames = [_colour(entities, each) for each in entities.order[:count]]
        panels = [(masks.paint(small, masks.resize(mask, height, width)), "mask")]
        panels += [(framed(panel, colour), caption) for (panel, caption), colour in zip(drawn, frames, strict=True)]
        rows += [paragraph(f"{name}: the mask and {scale_of(entities, len(drawn))}"), strip(panels)]
    return stack(rows)


def scale_of(entities: Entities, count: int | None = None) -> str:
    """What the panels show, for the line above them."""
    shown = "all entities and their " + entities.measure if count is None else f"the {count} most relevant entities"
    frames = ", frames of one colour: one Gaussian" if entities.gaussians else ""
    return f"{shown} (dark 0.00, bright {brightest(entities):.2f}{frames})"


def brightest(entities: Entities) -> float:
    """The largest value of the maps, which all panels share as the end of their colours."""
    return float(entities.maps.max(initial=0.0))


def framed(picture: Pixels, colour: Colour) -> Pixels:
    """The picture with a frame over its edges."""
    drawn = picture.copy()
    for edge in (drawn[:FRAME], drawn[-FRAME:], drawn[:, :FRAME], drawn[:, -FRAME:]):
        edge[...] = colour
    return drawn


def gaussian_colours(count: int) -> Sequence[Colour]:
    """As many colours, evenly spaced in hue, every other one darker."""
    spread = [colorsys.hsv_to_rgb(each / count, 0.85, 0.95 if each % 2 else 0.7) for each in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in spread]


def _colour(entities: Entities, each: int) -> Colour:
    if not entities.gaussians:
        return GREY
    return gaussian_colours(max(entities.gaussians) + 1)[entities.gaussians[each]]


def _partition(image: Pixels, entities: Entities) -> Pixels:
    """The photo with the outline of each entity's cells, those where it is the largest, in its Gaussian's colour."""
    drawn = image.copy()
    largest = entities.maps.argmax(0)
    for each in range(len(entities)):
        cells = masks.resize(largest == each, *image.shape[:2])
        drawn[masks.outline(cells)] = _colour(entities, each)
    return drawn
