"""Words for kinds, colours, patterns, states and relations, in training and held out for testing.

No held-out paraphrase is a training entry, though single words of it may be. The first training word is the usual one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """Synonyms: those of the training sets, and those held out for testing."""

    training: tuple[str, ...]
    held_out: tuple[str, ...] = ()


def words(training: str, held_out: str = "") -> Words:
    """Synonyms from lists with `|` between the entries."""
    return Words(tuple(training.split("|")), tuple(held_out.split("|")) if held_out else ())


KIND_WORDS: dict[str, Words] = {
    "cat": words("cat|kitty|kitten", "feline|pussycat"),
    "dog": words("dog|puppy|doggy|pup", "hound|canine"),
    "bird": words("bird|birdie", "songbird|fowl"),
    "fish": words("fish|fishy", "goldfish|trout"),
    "rabbit": words("rabbit|bunny", "hare|bunny rabbit"),
    "turtle": words("turtle|tortoise", "terrapin"),
    "horse": words("horse|pony", "stallion|steed"),
    "car": words("car|automobile", "sedan|motorcar"),
    "bus": words("bus|coach", "minibus|autobus"),
    "truck": words("truck|lorry", "semi|hauler"),
    "boat": words("boat|ship", "sailboat|vessel"),
    "plane": words("plane|airplane|jet", "aircraft|airliner"),
    "train": words("train|locomotive", "railcar|engine"),
    "bicycle": words("bicycle|bike", "two-wheeler|pushbike"),
    "apple": words("apple", "crab apple"),
    "banana": words("banana|nana", "plantain"),
    "pear": words("pear", "bosc pear"),
    "cherry": words("cherry|cherries", "pair of cherries"),
    "carrot": words("carrot", "root vegetable"),
    "cake": words("cake|pastry", "gateau|dessert"),
    "cup": words("cup|mug", "teacup|coffee cup"),
    "bottle": words("bottle|flask", "water bottle|glass bottle"),
    "chair": words("chair|seat", "stool|dining chair"),
    "table": words("table|desk", "dining table|coffee table"),
    "lamp": words("lamp|light", "table lamp|lantern"),
    "book": words("book|notebook", "novel|textbook"),
    "key": words("key", "door key|house key"),
    "clock": words("clock|alarm clock", "timepiece"),
    "umbrella": words("umbrella|parasol", "brolly|sunshade"),
    "sofa": words("sofa|couch", "settee|loveseat"),
    "adult": words("adult|grown-up|grownup", "grown person|mature person"),
    "baby": words("baby|toddler|infant", "newborn|tot"),
    "tree": words("tree", "leafy tree|oak"),
    "flower": words("flower|blossom", "bloom|daisy"),
    "mushroom": words("mushroom|toadstool", "fungus"),
    "cactus": words("cactus", "succulent|prickly cactus"),
    "bush": words("bush|shrub", "hedge|shrubbery"),
    "ball": words("ball", "sphere|round ball"),
    "cube": words("cube|block|box", "cuboid|brick"),
    "star": words("star", "star shape"),
    "heart": words("heart", "heart shape|valentine"),
    "ring": words("ring|hoop", "circle|torus"),
    "pyramid": words("pyramid|triangle", "tetrahedron"),
}

FAMILY_WORDS: dict[str, Words] = {
    "animals": words("animal|creature", "critter|beast"),
    "vehicles": words("vehicle", "means of transport"),
    "food": words("food|piece of food", "snack|edible thing"),
    "people": words("person|human", "individual|figure"),
    "shapes": words("shape|toy", "geometric shape"),
}

ANYTHING = words("thing|object", "item")
ONE = words("one")

COLOUR_WORDS: dict[str, Words] = {
    "red": words("red|crimson", "scarlet|ruby"),
    "orange": words("orange|orangish", "tangerine"),
    "yellow": words("yellow|yellowish", "lemon yellow|canary yellow"),
    "green": words("green|greenish", "emerald|leaf green"),
    "blue": words("blue|bluish", "azure|cobalt"),
    "purple": words("purple|violet", "plum-colored|lilac"),
    "pink": words("pink|pinkish", "rosy|magenta"),
    "brown": words("brown|brownish", "chestnut|chocolate"),
    "black": words("black|jet black", "ebony|inky"),
    "white": words("white|whitish", "snow-white|ivory"),
    "grey": words("gray|grey|grayish", "ash-colored|silver"),
}

PATTERN_WORDS: dict[str, Words] = {
    "plain": words("plain|solid", "unpatterned"),
    "striped": words("striped|stripy|stripey", "banded|with stripes"),
    "dotted": words("dotted|spotted|polka dot", "speckled|with dots"),
    "checkered": words("checkered|checked", "chequered|with checks"),
}

STATE_WORDS: dict[str, Words] = {
    "sitting": words("sitting|sitting down", "seated"),
    "standing": words("standing|standing up", "upright"),
    "flying": words("flying|in flight", "airborne"),
    "running": words("running|galloping", "racing"),
    "empty": words("empty", "drained|with nothing inside"),
    "full": words("full|filled", "brimming"),
    "open": words("open|opened", "wide open|unclosed"),
    "closed": words("closed|shut", "unopened"),
    "lit": words("lit|glowing|switched on", "shining|turned on"),
    "unlit": words("unlit|switched off", "not shining|turned off"),
    "waving": words("waving", "saying hello"),
    "crawling": words("crawling", "on all fours"),
}

CARRIED_WORDS: dict[str, Words] = {
    "hat": words("with hat|in hat|wearing hat", "with something on its head"),
    "bag": words("with bag|holding bag|carrying bag", "with purse"),
    "ball": words("with ball|holding ball", "carrying ball"),
}
CARRIED_CLAUSES: dict[str, Words] = {
    "hat": words("with a hat|wearing a hat|who is wearing a hat|in a hat", "that has a hat on"),
    "bag": words("with a bag|holding a bag|who is carrying a bag|carrying a bag", "that has a bag"),
    "ball": words("with a ball|holding a ball|who is holding a ball", "that carries a ball"),
}
CLOTHES = words(
    "in {colour}|wearing {colour}|in {colour} shirt|{colour} shirt|in {colour} clothes", "dressed in {colour}"
)
FULL_CLOTHES = words(
    "in {colour}|wearing {colour}|in a {colour} shirt|wearing a {colour} shirt|in {colour} clothes",
    "dressed in {colour}",
)
NUMBERS: dict[int, str] = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}

FACING_WORDS: dict[str, Words] = {
    "left": words("facing left|looking left", "turned left"),
    "right": words("facing right|looking right", "turned right"),
}

ORDINALS: dict[int, Words] = {
    1: words("first|1st", "number one"),
    2: words("second|2nd", "number two"),
    3: words("third|3rd", "number three"),
    4: words("fourth|4th", "number four"),
}

SIZE_WORDS: dict[str, Words] = {
    "biggest": words("biggest|big|bigger|larger|large|largest", "huge|most sizeable"),
    "smallest": words("smallest|small|smaller|little|littlest", "tiny|tiniest"),
}

RELATION_WORDS: dict[str, Words] = {
    "left_of": words("left of|to the left of|on the left of", "on the left-hand side of"),
    "right_of": words("right of|to the right of|on the right of", "on the right-hand side of"),
    "above": words("above|over", "higher than"),
    "below": words("below|under", "beneath|lower than"),
    "behind": words("behind|in back of", "at the rear of"),
    "in_front_of": words("in front of", "ahead of"),
    "next_to": words("next to|by|beside|near", "alongside|adjacent to"),
    "hidden_by": words("behind|hidden by|partly hidden by|blocked by", "obscured by|covered by"),
}

# Words for locations; `toyland+` uses none of them, like RefCOCO+.
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
