"""A prediction and its evidence on one sheet."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from PIL import Image

from .. import masks
from .entities import all_entities, entities_in, is_of_entities, scale_of, top_entities
from .layout import PANEL, Pixels, bars, paragraph, plain_name, stack, strip, title_line
from .maps import colour_ends, heat, highlight


def explanation(
    image: Pixels,
    mask: Bool[np.ndarray, "h w"],
    probability: Float[np.ndarray, "h w"],
    expression: str,
    tokens: Sequence[str],
    evidence: Mapping[str, Shaped[np.ndarray, "..."]],
) -> Image.Image:
    """A prediction on one sheet: photo, overlay and probability; then the maps of each token; then fractions as bars.

    Entities come first: the three most relevant ones beside the probability (SaG's Figure A1), all of them below (A2).
    The shape of evidence decides how it is drawn: `[l y x]` is a heat map for each token (all tokens of one map share
    the colours' ends), or a highlight for each token where all values are 0 or 1; `[y x]` is a heat map; a number
    between 0 and 1, or a short vector of such, is drawn as bars.
    """
    height, width = (max(1, round(side * PANEL / max(mask.shape))) for side in mask.shape)
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    likely = np.asarray(Image.fromarray(probability.astype(np.float32)).resize((width, height)))
    panels = [
        (small, "photo"),
        (masks.paint(small, masks.resize(mask, height, width)), "mask"),
        (heat(small, likely), "probability"),
    ]
    entities = entities_in(evidence)
    if entities is not None:
        panels += top_entities(small, entities)
        evidence = {name: values for name, values in evidence.items() if not is_of_entities(name)}
    for name, values in evidence.items():
        if values.ndim == 2 and min(values.shape) > 1:
            panels.append((heat(small, values, *colour_ends(values)), plain_name(name)))
    rows = [title_line(f"“{expression}”"), strip(panels)]
    if entities is not None:
        rows += [paragraph(scale_of(entities)), strip(all_entities(small, entities))]
    spoken = [(position, spell(token)) for position, token in enumerate(tokens) if token not in {"[PAD]", "[SEP]"}]
    rows += _by_token(small, spoken, len(tokens), evidence)
    rows += [bars(plain_name(name), values) for name, values in evidence.items() if _are_fractions(values)]
    alone = {name: values[None] for name, values in evidence.items() if values.ndim == 0}
    rows += [bars(plain_name(name), value, ("probability",)) for name, value in alone.items() if _are_fractions(value)]
    return stack(rows)


def spell(token: str) -> str:
    """A token for readers: [CLS] as (sentence), a continued piece of a word with a hyphen."""
    return "(sentence)" if token == "[CLS]" else "-" + token[2:] if token.startswith("##") else token


def _by_token(
    image: Pixels, spoken: list[tuple[int, str]], count: int, evidence: Mapping[str, Shaped[np.ndarray, "..."]]
) -> list[Image.Image]:
    """The names of the maps with an axis of tokens, and a strip with a column for each token."""
    titles, layers = [], []
    for name, values in evidence.items():
        if values.ndim != 3 or len(values) != count or not spoken:
            continue
        shown = values[[position for position, _ in spoken]]
        if is_choice(shown):
            titles.append(plain_name(name))
            layers.append([highlight(image, cells > 0.5) for cells in shown])
        else:
            low, high = colour_ends(shown)
            titles.append(f"{plain_name(name)} (dark {low:.2f}, bright {high:.2f})")
            layers.append([heat(image, cells, low, high) for cells in shown])
    if not layers:
        return []
    line = np.full((3, image.shape[1], 3), 255, np.uint8)
    columns = [
        np.concatenate([part for layer in column for part in (line, layer)][1:]) for column in zip(*layers, strict=True)
    ]
    panels = [(column, token) for column, (_, token) in zip(columns, spoken, strict=True)]
    return [paragraph("for each token, from top to bottom: " + ", ".join(titles)), strip(panels)]


def is_choice(values: Shaped[np.ndarray, "..."]) -> bool:
    """Whether the map chooses cells: all its values are 0 or 1."""
    return values.dtype == bool or bool(np.isin(values, (0, 1)).all())


def _are_fractions(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.ndim == 1 and 1 <= len(values) <= 8 and bool(((values >= 0) & (values <= 1)).all())
