"""A scene as data: what is there, where, and how it looks, before anything is drawn.

Coordinates are fractions of the picture's side (x to the right, y downward); `depth` runs from 0 (far) to 1
(near), and a nearer thing covers a farther one. A scene is drawn by `drawing`, spoken about by `language`.
"""

from dataclasses import dataclass
from typing import Literal

Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"]
Size = Literal["small", "medium", "large"]
Pattern = Literal["plain", "striped", "dotted", "checkered"]
Facing = Literal["left", "right"]
Setting = Literal["meadow", "beach", "street", "room", "kitchen", "snow"]

COLOURS: tuple[Colour, ...] = Colour.__args__  # type: ignore[attr-defined]
SIZES: tuple[Size, ...] = Size.__args__  # type: ignore[attr-defined]
PATTERNS: tuple[Pattern, ...] = Pattern.__args__  # type: ignore[attr-defined]

FAMILIES: dict[str, tuple[str, ...]] = {
    "animals": ("cat", "dog", "bird", "fish", "rabbit", "turtle", "horse"),
    "vehicles": ("car", "bus", "truck", "boat", "plane", "train", "bicycle"),
    "food": ("apple", "banana", "pear", "cherry", "carrot", "cake"),
    "household": ("cup", "bottle", "chair", "table", "lamp", "book", "key", "clock", "umbrella", "sofa"),
    "people": ("adult", "baby"),
    "nature": ("tree", "flower", "mushroom", "cactus", "bush"),
    "shapes": ("ball", "cube", "star", "heart", "ring", "pyramid"),
}
KINDS: tuple[str, ...] = tuple(kind for kinds in FAMILIES.values() for kind in kinds)
FAMILY_OF: dict[str, str] = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}

# What a thing may be doing or be like, beside its plain state; the drawing shows it, the language may say it.
STATES: dict[str, tuple[str, ...]] = {
    "cat": ("sitting", "standing"),
    "dog": ("sitting", "standing"),
    "bird": ("flying", "standing"),
    "horse": ("standing", "running"),
    "cup": ("empty", "full"),
    "bottle": ("empty", "full"),
    "book": ("open", "closed"),
    "umbrella": ("open", "closed"),
    "lamp": ("lit", "unlit"),
    "adult": ("standing", "sitting", "waving"),
    "baby": ("crawling", "sitting"),
}
# Where the ground meets what is behind it, and the sea the sand, as fractions of the picture's side.
HORIZON: dict[Setting, float] = {
    "meadow": 0.36,
    "beach": 0.32,
    "street": 0.42,
    "room": 0.46,
    "kitchen": 0.4,
    "snow": 0.38,
}
WATERLINE = 0.54  # of the beach

CARRIED: tuple[str, ...] = ("hat", "bag", "ball")  # what people wear or hold, beside their clothes


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
    x: float  # the middle of the thing's foot, as a fraction of the picture's side
    y: float
    scale: float  # the height of its box, as a fraction of the picture's side
    depth: float
    tint: int = 0  # a small seed: shades, proportions and details that words do not name


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Things in a setting, farthest first; `seed` feeds everything the drawing still has to draw by lot."""

    seed: int
    setting: Setting
    things: tuple[Thing, ...]
