"""Several models for one expression beside each other: their masks, and their maps for each word."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from .. import masks
from .layout import PANEL, Pixels, paragraph, strip, title_line
from .maps import colour_ends, heat
from .sheet import spell

SIDE = 224  # pixels: the long side of a panel


def side_by_side(
    image: Pixels, expression: str, named: Mapping[str, Bool[np.ndarray, "h w"]], side: int = SIDE
) -> list[Image.Image]:
    """The expression, and a strip of the image and of each mask over it, named below (VEGA's Figures 6 and 7).

    The pictures are rows for `stack`.
    """
    height, width = (max(1, round(length * side / max(image.shape[:2]))) for length in image.shape[:2])
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    panels = [(small, "image")]
    panels += [(masks.paint(small, masks.resize(mask, height, width)), name) for name, mask in named.items()]
    return [title_line(f"“{expression}”", 16), strip(panels)]


def word_maps(
    image: Pixels,
    expression: str,
    tokens: Sequence[str],
    named: Mapping[str, tuple[Bool[np.ndarray, "h w"], Float[np.ndarray, "l y x"]]],
    side: int = PANEL,
) -> list[Image.Image]:
    """The expression, and for each model its mask and its map of each word, without [CLS], [SEP] and padding.

    The colours of a row span that model's values. The pictures are rows for `stack`.
    """
    height, width = (max(1, round(length * side / max(image.shape[:2]))) for length in image.shape[:2])
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    words = [place for place, token in enumerate(tokens) if token not in {"[CLS]", "[SEP]", "[PAD]"}]
    rows = [title_line(f"“{expression}”", 16)]
    for name, (mask, maps) in named.items():
        low, high = colour_ends(maps[words])
        panels = [(masks.paint(small, masks.resize(mask, height, width)), "mask")]
        panels += [(heat(small, maps[place], low, high), spell(tokens[place])) for place in words]
        rows += [paragraph(f"{name} (dark {low:.2f}, bright {high:.2f})"), strip(panels)]
    return rows
