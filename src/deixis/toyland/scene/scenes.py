"""A scene as data: which things it holds, where they stand, and how they look.

Coordinates are fractions of the image's side (x to the right, y downward); `depth` runs from 0 (far) to 1 (near), and
a nearer thing covers a farther one.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"]
Size = Literal["small", "medium", "large"]
Pattern = Literal["plain", "striped", "dotted", "checkered"]
Facing = Literal["left", "right"]
Setting = Literal["meadow", "beach", "street", "room", "kitchen", "snow"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

# The y of the border between ground and background, and of the beach's shoreline.
HORIZON: dict[Setting, float] = {
    "meadow": 0.36,
    "beach": 0.32,
    "street": 0.42,
    "room": 0.46,
    "kitchen": 0.4,
    "snow": 0.38,
}
WATERLINE = 0.54


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One drawn thing. For people `colour` and `pattern` are those of the clothes."""

    kind: str
    colour: Colour
    size: Size
    pattern: Pattern = "plain"
    facing: Facing = "right"
    state: str = ""
    carried: tuple[str, ...] = ()
    x: float  # the middle of the thing's foot
    y: float
    scale: float  # the height of its box
    depth: float
    detail_seed: int = 0  # for shades, proportions and details that expressions do not mention


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Things in a setting, farthest first; `seed` determines the background and the noise."""

    seed: int
    setting: Setting
    things: tuple[Thing, ...]
