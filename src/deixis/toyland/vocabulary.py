"""What things, colours, patterns, states and places are called, in training and only ever in tests.

Every entry holds the words to learn from and the held-out paraphrases; no held-out paraphrase is an entry to learn
from, though its words may stand in one. The first word of a list is the usual one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """Ways to say one thing: those a model may learn from, and those kept for testing."""

    training: tuple[str, ...]
    held_out: tuple[str, ...] = ()


def _words(training: str, held_out: str = "") -> Words:
    return Words(tuple(training.split("|")), tuple(held_out.split("|")) if held_out else ())


KIND_WORDS: dict[str, Words] = {
    "cat": _words("cat|kitty|kitten", "feline|pussycat"),
    "dog": _words("dog|puppy|doggy|pup", "hound|canine"),
    "bird": _words("bird|birdie", "songbird|fowl"),
    "fish": _words("fish|fishy", "goldfish|trout"),
    "rabbit": _words("rabbit|bunny", "hare|bunny rabbit"),
    "turtle": _words("turtle|tortoise", "terrapin"),
    "horse": _words("horse|pony", "stallion|steed"),
    "car": _words("car|automobile", "sedan|motorcar"),
    "bus": _words("bus|coach", "minibus|autobus"),
    "truck": _words("truck|lorry", "semi|hauler"),
    "boat": _words("boat|ship", "sailboat|vessel"),
    "plane": _words("plane|airplane|jet", "aircraft|airliner"),
    "train": _words("train|locomotive", "railcar|engine"),
    "bicycle": _words("bicycle|bike", "two-wheeler|pushbike"),
    "apple": _words("apple", "crab apple"),
    "banana": _words("banana|nana", "plantain"),
    "pear": _words("pear", "bosc pear"),
    "cherry": _words("cherry|cherries", "pair of cherries"),
    "carrot": _words("carrot", "root vegetable"),
    "cake": _words("cake|pastry", "gateau|dessert"),
    "cup": _words("cup|mug", "teacup|coffee cup"),
    "bottle": _words("bottle|flask", "water bottle|glass bottle"),
    "chair": _words("chair|seat", "stool|dining chair"),
    "table": _words("table|desk", "dining table|coffee table"),
    "lamp": _words("lamp|light", "table lamp|lantern"),
    "book": _words("book|notebook", "novel|textbook"),
    "key": _words("key", "door key|house key"),
    "clock": _words("clock|alarm clock", "timepiece"),
    "umbrella": _words("umbrella|parasol", "brolly|sunshade"),
    "sofa": _words("sofa|couch", "settee|loveseat"),
    "adult": _words("adult|grown-up|grownup", "grown person|mature person"),
    "baby": _words("baby|toddler|infant", "newborn|tot"),
    "tree": _words("tree", "leafy tree|oak"),
    "flower": _words("flower|blossom", "bloom|daisy"),
    "mushroom": _words("mushroom|toadstool", "fungus"),
    "cactus": _words("cactus", "succulent|prickly cactus"),
    "bush": _words("bush|shrub", "hedge|shrubbery"),
    "ball": _words("ball", "sphere|round ball"),
    "cube": _words("cube|block|box", "cuboid|brick"),
    "star": _words("star", "star shape"),
    "heart": _words("heart", "heart shape|valentine"),
    "ring": _words("ring|hoop", "circle|torus"),
    "pyramid": _words("pyramid|triangle", "tetrahedron"),
}

FAMILY_WORDS: dict[str, Words] = {
    "animals": _words("animal|creature", "critter|beast"),
    "vehicles": _words("vehicle", "means of transport"),
    "food": _words("food|piece of food", "snack|edible thing"),
    "people": _words("person|human", "individual|figure"),
    "shapes": _words("shape|toy", "geometric shape"),
}

ANYTHING = _words("thing|object", "item")
ONE = _words("one")

COLOUR_WORDS: dict[str, Words] = {
    "red": _words("red|crimson", "scarlet|ruby"),
    "orange": _words("orange|orangish", "tangerine"),
    "yellow": _words("yellow|yellowish", "lemon yellow|canary yellow"),
    "green": _words("green|greenish", "emerald|leaf green"),
    "blue": _words("blue|bluish", "azure|cobalt"),
    "purple": _words("purple|violet", "plum-colored|lilac"),
    "pink": _words("pink|pinkish", "rosy|magenta"),
    "brown": _words("brown|brownish", "chestnut|chocolate"),
    "black": _words("black|jet black", "ebony|inky"),
    "white": _words("white|whitish", "snow-white|ivory"),
    "grey": _words("gray|grey|grayish", "ash-colored|silver"),
}

PATTERN_WORDS: dict[str, Words] = {
    "plain": _words("plain|solid", "unpatterned"),
    "striped": _words("striped|stripy|stripey", "banded|with stripes"),
    "dotted": _words("dotted|spotted|polka dot", "speckled|with dots"),
    "checkered": _words("checkered|checked", "chequered|with checks"),
}

STATE_WORDS: dict[str, Words] = {
    "sitting": _words("sitting|sitting down", "seated"),
    "standing": _words("standing|standing up", "upright"),
    "flying": _words("flying|in flight", "airborne"),
    "running": _words("running|galloping", "racing"),
    "empty": _words("empty", "drained|with nothing inside"),
    "full": _words("full|filled", "brimming"),
    "open": _words("open|opened", "wide open|unclosed"),
    "closed": _words("closed|shut", "unopened"),
    "lit": _words("lit|glowing|switched on", "shining|turned on"),
    "unlit": _words("unlit|switched off", "not shining|turned off"),
    "waving": _words("waving", "saying hello"),
    "crawling": _words("crawling", "on all fours"),
}

CARRIED_WORDS: dict[str, Words] = {
    "hat": _words("with hat|in hat|wearing hat", "with something on its head"),
    "bag": _words("with bag|holding bag|carrying bag", "with purse"),
    "ball": _words("with ball|holding ball", "carrying ball"),
}
CARRIED_CLAUSES: dict[str, Words] = {
    "hat": _words("with a hat|wearing a hat|who is wearing a hat|in a hat", "that has a hat on"),
    "bag": _words("with a bag|holding a bag|who is carrying a bag|carrying a bag", "that has a bag"),
    "ball": _words("with a ball|holding a ball|who is holding a ball", "that carries a ball"),
}
CLOTHES = _words(
    "in {colour}|wearing {colour}|in {colour} shirt|{colour} shirt|in {colour} clothes", "dressed in {colour}"
)
FULL_CLOTHES = _words(
    "in {colour}|wearing {colour}|in a {colour} shirt|wearing a {colour} shirt|in {colour} clothes",
    "dressed in {colour}",
)
NUMBERS: dict[int, str] = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}

FACING_WORDS: dict[str, Words] = {
    "left": _words("facing left|looking left", "turned left"),
    "right": _words("facing right|looking right", "turned right"),
}

ORDINALS: dict[int, Words] = {
    1: _words("first|1st", "number one"),
    2: _words("second|2nd", "number two"),
    3: _words("third|3rd", "number three"),
    4: _words("fourth|4th", "number four"),
}

SIZE_WORDS: dict[str, Words] = {
    "biggest": _words("biggest|big|bigger|larger|large|largest", "huge|most sizeable"),
    "smallest": _words("smallest|small|smaller|little|littlest", "tiny|tiniest"),
}

RELATION_WORDS: dict[str, Words] = {
    "left_of": _words("left of|to the left of|on the left of", "on the left-hand side of"),
    "right_of": _words("right of|to the right of|on the right of", "on the right-hand side of"),
    "above": _words("above|over", "higher than"),
    "below": _words("below|under", "beneath|lower than"),
    "behind": _words("behind|in back of", "at the rear of"),
    "in_front_of": _words("in front of", "ahead of"),
    "next_to": _words("next to|by|beside|near", "alongside|adjacent to"),
    "hidden_by": _words("behind|hidden by|partly hidden by|blocked by", "obscured by|covered by"),
}

# A word of this list says where something is; `toyland+` does without all of them, as RefCOCO+ does.
LOCATION_WORDS: frozenset[str] = frozenset(
    word
    for line in (
        "left right top bottom middle center centre corner side edge above below over under underneath beneath",
        "behind front back rear near nearest nearer close closest closer far farther farthest furthest next beside",
        "alongside adjacent between higher highest lower lowest upper uppermost leftmost rightmost topmost bottommost",
        "ahead before facing first second third fourth 1st 2nd 3rd 4th foreground background left-hand right-hand",
        "lft lef rt rite mid middl",
    )
    for word in line.split()
)
