"""The kinds of things: their families, states, proportions, usual colours, and the settings that they appear in."""

from collections.abc import Mapping

from .scenes import Colour, Setting, Thing

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

# States are visible in the drawing, and expressions may mention them.
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
CARRIED: tuple[str, ...] = ("hat", "bag", "ball")  # what people may wear or hold

# The height of a medium thing at middle distance, as a fraction of the image. Kinds keep their real order of size
# loosely: an apple may be as large as a cat.
HEIGHTS: Mapping[str, float] = {
    "cat": 0.2, "dog": 0.21, "bird": 0.16, "fish": 0.13, "rabbit": 0.18, "turtle": 0.13, "horse": 0.3,
    "car": 0.17, "bus": 0.22, "truck": 0.22, "boat": 0.24, "plane": 0.15, "train": 0.2, "bicycle": 0.2,
    "apple": 0.14, "banana": 0.14, "pear": 0.17, "cherry": 0.15, "carrot": 0.14, "cake": 0.18,
    "cup": 0.16, "bottle": 0.24, "chair": 0.27, "table": 0.2, "lamp": 0.27, "book": 0.17, "key": 0.1,
    "clock": 0.18, "umbrella": 0.25, "sofa": 0.22, "adult": 0.38, "baby": 0.22,
    "tree": 0.4, "flower": 0.2, "mushroom": 0.17, "cactus": 0.25, "bush": 0.17,
    "ball": 0.15, "cube": 0.16, "star": 0.17, "heart": 0.16, "ring": 0.16, "pyramid": 0.18,
}  # fmt: skip

# Width over height of a kind's box, and of the states that differ from it.
ASPECTS: Mapping[str, float] = {
    "cat": 1.3, "dog": 1.38, "bird": 1.1, "fish": 1.54, "rabbit": 0.82, "turtle": 1.6, "horse": 1.22,
    "car": 2.12, "bus": 2.0, "truck": 2.0, "boat": 1.24, "plane": 2.0, "train": 1.84, "bicycle": 1.56,
    "apple": 0.96, "banana": 1.42, "pear": 0.76, "cherry": 1.04, "carrot": 1.4, "cake": 1.2,
    "cup": 1.06, "bottle": 0.42, "chair": 0.75, "table": 1.6, "lamp": 0.68, "book": 0.78, "key": 1.95,
    "clock": 0.92, "umbrella": 1.16, "sofa": 1.8, "adult": 0.54, "baby": 0.82,
    "tree": 0.8, "flower": 0.64, "mushroom": 1.0, "cactus": 0.7, "bush": 1.4,
    "ball": 1.0, "cube": 1.0, "star": 1.0, "heart": 1.04, "ring": 1.0, "pyramid": 1.06,
}  # fmt: skip
STATE_ASPECTS: Mapping[tuple[str, str], float] = {
    ("cat", "sitting"): 0.72,
    ("dog", "sitting"): 0.82,
    ("bird", "flying"): 1.4,
    ("book", "open"): 1.48,
    ("umbrella", "closed"): 0.36,
    ("adult", "sitting"): 0.66,
    ("baby", "crawling"): 1.22,
}

# Usual colours are a little more frequent than the others; every colour is possible.
USUAL_COLOURS: Mapping[str, tuple[Colour, ...]] = {
    "cat": ("orange", "grey", "black", "white", "brown"), "dog": ("brown", "black", "white", "yellow"),
    "horse": ("brown", "black", "white"), "rabbit": ("white", "grey", "brown"), "fish": ("orange", "blue", "yellow"),
    "turtle": ("green", "brown"), "apple": ("red", "green", "yellow"), "banana": ("yellow", "green", "brown"),
    "pear": ("green", "yellow"), "cherry": ("red", "purple", "black"), "carrot": ("orange", "purple", "yellow"),
    "tree": ("green", "orange", "red"), "bush": ("green", "brown"), "cactus": ("green",), "mushroom": ("red", "brown"),
}  # fmt: skip

OUTDOORS: tuple[Setting, ...] = ("meadow", "beach", "street", "snow")
INDOORS: tuple[Setting, ...] = ("room", "kitchen")
WATER_KINDS = frozenset({"boat", "fish"})
# The settings of a family, and of the kinds that differ from their family.
SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "animals": (*OUTDOORS, "room"),
    "vehicles": ("street", "meadow", "snow", "beach"),
    "food": ("kitchen", "room", "meadow"),
    "household": INDOORS,
    "people": (*OUTDOORS, "room"),
    "nature": OUTDOORS,
    "shapes": (*OUTDOORS, *INDOORS),
    "boat": ("beach",),
    "fish": ("beach", "kitchen"),
    "horse": OUTDOORS,
    "train": ("street", "meadow", "snow"),
    "umbrella": ("beach", "street", "room"),
    "chair": ("room", "kitchen", "beach"),
    "sofa": ("room",),
    "flower": ("meadow", "room", "kitchen"),
    "cactus": ("meadow", "beach", "room", "kitchen"),
    "mushroom": ("meadow", "kitchen"),
}


def settings_of(kind: str) -> tuple[Setting, ...]:
    return SETTINGS.get(kind) or SETTINGS[FAMILY_OF[kind]]


def aspect_of(thing: Thing) -> float:
    """Width over height of a thing's box."""
    return STATE_ASPECTS.get((thing.kind, thing.state), ASPECTS[thing.kind])


def is_flying(thing: Thing) -> bool:
    return thing.kind == "plane" or thing.state == "flying"
