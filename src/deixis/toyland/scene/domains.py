"""Domains: what scenes show (content), how they are drawn (style) and how expressions are worded (subset)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ...errors import InputError
from .kinds import FAMILIES, FAMILY_OF, KINDS
from .scenes import COLOURS, Colour, Setting

SubsetName = Literal["toyland", "toyland+", "toyland-g"]  # RefCOCO-like, RefCOCO+-like, G-Ref-like
SUBSETS: tuple[SubsetName, ...] = get_args(SubsetName)
Paper = Literal["none", "white", "blue"]
Discrepancy = Literal["content", "style", "subset"]
DISCREPANCIES: tuple[Discrepancy, ...] = get_args(Discrepancy)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a scene is drawn. Strengths are in 256ths: integers give the same pixels on every machine."""

    name: str
    relief: int = 130  # contrast of the shading
    edges: int = 70  # darkness of the lines between parts
    shadow: int = 100  # darkness of cast shadows
    noise: int = 5  # standard deviation of the sensor noise, in grey levels
    focus: bool = True  # whether far things are blurred
    softness: int = 0  # blur of the lens, in tenths of a pixel of an image with a side of 256
    vignette: int = 0  # darkening of the corners
    saturation: int = 256
    tone: tuple[int, int, int] = (256, 256, 256)  # factors of red, green and blue
    lift: tuple[int, int, int] = (0, 0, 0)  # grey levels added after the factors
    paper: Paper = "none"  # white or blue: drawn with lines on paper instead of painted

    def __post_init__(self) -> None:
        strengths = ("relief", "edges", "shadow", "noise", "vignette", "saturation")
        if negative := [name for name in strengths if getattr(self, name) < 0]:
            raise InputError(f"Style {self.name!r} has a negative {negative[0]}; expected 0 or more.")


PAINTED = Style(name="painted")
SKETCH = Style(name="sketch", relief=60, edges=230, shadow=50, noise=4, focus=False, paper="white")
NIGHT = Style(
    name="night",
    relief=190,
    edges=60,
    shadow=60,
    noise=9,
    vignette=150,
    saturation=190,
    tone=(124, 134, 186),
    lift=(4, 6, 18),
)
BLUEPRINT = Style(name="blueprint", relief=70, edges=256, shadow=0, noise=3, focus=False, paper="blue")
PHOTO = Style(
    name="photo",
    relief=256,
    edges=0,
    shadow=150,
    noise=11,
    softness=7,
    vignette=120,
    saturation=176,
    tone=(272, 254, 226),
    lift=(0, 2, 8),
)
STYLES: Mapping[str, Style] = {style.name: style for style in (PAINTED, SKETCH, NIGHT, BLUEPRINT, PHOTO)}


@dataclass(frozen=True, kw_only=True)
class Content:
    """Which kinds appear, how often, and in which settings."""

    name: str
    weights: Mapping[str, float]
    settings: tuple[Setting, ...] = ("meadow", "beach", "street", "room", "kitchen", "snow")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(KINDS))
        if unknown:
            raise InputError(f"Content {self.name!r} names the kinds {unknown}; expected kinds of `KINDS`.")
        if not self.settings or not any(weight > 0 for weight in self.weights.values()):
            raise InputError(f"Content {self.name!r} is empty; give it settings and kinds of positive weight.")


def _by_family(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of kinds: each kind of a family gets an equal part of the family's weight."""
    return {kind: weights[family] / len(FAMILIES[family]) for kind, family in FAMILY_OF.items() if family in weights}


EVERYTHING = Content(
    name="everything",
    weights=_by_family(
        {"people": 6.0, "animals": 5.0, "vehicles": 4.0, "food": 3.5, "household": 4.0, "nature": 2.5, "shapes": 3.0}
    ),
)
ZOO = Content(
    name="zoo",
    weights=_by_family({"animals": 12.0, "nature": 3.0, "people": 1.5, "shapes": 0.6}),
    settings=("meadow", "beach", "snow"),
)
STREET = Content(
    name="street",
    weights={**_by_family({"vehicles": 9.0, "people": 5.0, "nature": 1.0}), "dog": 0.6, "cat": 0.4, "umbrella": 0.8},
    settings=("street", "snow", "meadow"),
)
HOME = Content(
    name="home",
    weights={**_by_family({"household": 7.0, "food": 5.0, "people": 2.0, "shapes": 1.5}), "cat": 1.0, "dog": 1.0},
    settings=("room", "kitchen"),
)
PARK = Content(
    name="park",
    weights=_by_family({"animals": 6.0, "people": 4.0, "nature": 3.0, "vehicles": 2.0, "shapes": 1.5}),
    settings=("meadow", "snow", "beach"),
)
TOWN = Content(
    name="town",
    weights={**_by_family({"vehicles": 7.0, "people": 4.0, "animals": 2.0, "nature": 1.0}), "umbrella": 1.0},
    settings=("street", "meadow", "snow"),
)
CONTENTS: Mapping[str, Content] = {one.name: one for one in (EVERYTHING, ZOO, STREET, HOME, PARK, TOWN)}


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Content, style and subset together; adaptation goes from one domain to another."""

    content: Content = EVERYTHING
    style: Style = PAINTED
    subset: SubsetName = "toyland"


_TOYLAND = Domain()
DOMAINS: Mapping[str, Domain] = {
    "toyland": _TOYLAND,
    "toyland+": replace(_TOYLAND, subset="toyland+"),
    "toyland-g": replace(_TOYLAND, subset="toyland-g"),
    "painted": replace(_TOYLAND, style=PAINTED),
    "sketch": replace(_TOYLAND, style=SKETCH),
    "night": replace(_TOYLAND, style=NIGHT),
    "blueprint": replace(_TOYLAND, style=BLUEPRINT),
    "photo": replace(_TOYLAND, style=PHOTO),
    "zoo": replace(_TOYLAND, content=ZOO),
    "street": replace(_TOYLAND, content=STREET),
    "home": replace(_TOYLAND, content=HOME),
    "painted-zoo": Domain(content=ZOO, style=PAINTED, subset="toyland"),
    "sketch-street": Domain(content=STREET, style=SKETCH, subset="toyland"),
    "sketch-street-g": Domain(content=STREET, style=SKETCH, subset="toyland-g"),
    "painted-park": Domain(content=PARK, style=PAINTED, subset="toyland"),
    "night-town+": Domain(content=TOWN, style=NIGHT, subset="toyland+"),
    "photo-everything-g": Domain(content=EVERYTHING, style=PHOTO, subset="toyland-g"),
    "sketch-home": Domain(content=HOME, style=SKETCH, subset="toyland"),
}


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A source with masks and a target without; `turned` leaves some of their discrepancies only."""

    source: Domain
    target: Domain

    @property
    def discrepancies(self) -> tuple[Discrepancy, ...]:
        """The parts that the two domains differ in."""
        return tuple(part for part in DISCREPANCIES if getattr(self.source, part) != getattr(self.target, part))

    def turned(self, only: Collection[Discrepancy]) -> "Transfer":
        """The transfer to a target that differs from the source in these parts only."""
        changed = {part: getattr(self.target, part) for part in only}
        return Transfer(source=self.source, target=replace(self.source, **changed))


def _between(source: str, target: str) -> Transfer:
    return Transfer(source=DOMAINS[source], target=DOMAINS[target])


# Each differs in content, in style and in language.
TRANSFERS: Mapping[str, Transfer] = {
    "park-to-night-town": _between("painted-park", "night-town+"),
    "zoo-to-sketch-street": _between("painted-zoo", "sketch-street-g"),
    "photo-to-sketch-home": _between("photo-everything-g", "sketch-home"),
}


def held_out_colour(kind: str) -> Colour | None:
    """The colour that training never shows this kind in, or None for one kind in eight; 8 % of pairs are held out."""
    number = KINDS.index(kind)
    return None if number % 8 == 7 else COLOURS[(5 * number + 3) % len(COLOURS)]


def is_held_out(kind: str, colour: str) -> bool:
    """Whether this pair of kind and colour appears in the held-out combinations only."""
    return held_out_colour(kind) == colour
