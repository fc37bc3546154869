"""What people call COCO's classes, groups of classes, and people by what they do."""

from functools import lru_cache

PEOPLE = {
    "guy": 25, "man": 24, "person": 16, "woman": 14, "girl": 10, "lady": 6, "kid": 5, "boy": 5, "dude": 2, "child": 2,
    "male": 1, "female": 1, "adult": 1, "gentleman": 1, "chick": 1, "individual": 1, "human": 1,
}  # fmt: skip
"""The words for a person and how often they are used; the annotations do not say who is a man or a child."""
NEUTRAL = {"person": 8, "individual": 1, "human": 1}
ANY = ("one", "one", "thing", "object", "item")  # "left one": used where all instances of a photo have one class

SYNONYMS: dict[str, tuple[str, ...]] = {
    "bicycle": ("bike", "bicycle", "cycle"), "car": ("car", "vehicle", "automobile"),
    "motorcycle": ("motorcycle", "bike", "motorbike", "cycle"), "airplane": ("plane", "airplane", "jet", "aircraft"),
    "bus": ("bus",), "train": ("train", "engine"), "truck": ("truck", "vehicle", "van"), "boat": ("boat", "ship"),
    "traffic light": ("traffic light", "light", "stoplight"), "fire hydrant": ("fire hydrant", "hydrant"),
    "stop sign": ("stop sign", "sign"), "parking meter": ("parking meter", "meter"), "bench": ("bench", "seat"),
    "bird": ("bird", "duck", "pigeon"), "cat": ("cat", "kitty", "kitten"), "dog": ("dog", "puppy", "pup"),
    "horse": ("horse", "pony"), "sheep": ("sheep", "lamb", "goat"), "cow": ("cow", "bull", "cattle", "calf"),
    "elephant": ("elephant",), "bear": ("bear",), "zebra": ("zebra", "striped animal"), "giraffe": ("giraffe",),
    "backpack": ("backpack", "bag"), "umbrella": ("umbrella", "parasol"), "handbag": ("handbag", "bag", "purse"),
    "tie": ("tie", "necktie"), "suitcase": ("suitcase", "luggage", "case", "bag"), "frisbee": ("frisbee", "disc"),
    "skis": ("skis", "ski"), "snowboard": ("snowboard", "board"), "sports ball": ("ball",), "kite": ("kite",),
    "baseball bat": ("bat", "baseball bat"), "baseball glove": ("glove", "mitt", "baseball glove"),
    "skateboard": ("skateboard", "board"), "surfboard": ("surfboard", "board", "surf board"),
    "tennis racket": ("racket", "tennis racket", "racquet"), "bottle": ("bottle", "container"),
    "wine glass": ("wine glass", "glass", "glass of wine"), "cup": ("cup", "glass", "mug", "drink"),
    "fork": ("fork", "silverware"), "knife": ("knife", "blade"), "spoon": ("spoon", "utensil"),
    "bowl": ("bowl", "dish", "container", "pot", "plate"), "banana": ("banana", "bananas", "bunch of bananas"),
    "apple": ("apple",), "sandwich": ("sandwich", "sub", "burger", "bread", "half sandwich"),
    "orange": ("orange", "orange fruit"), "broccoli": ("broccoli", "piece of broccoli", "brocolli", "green stuff"),
    "carrot": ("carrot", "carrots", "carrot stick"), "hot dog": ("hot dog", "hotdog", "sausage", "bun"),
    "pizza": ("pizza", "slice of pizza", "pizza slice", "slice", "pie", "piece of pizza"),
    "donut": ("donut", "doughnut", "pastry"), "cake": ("cake", "piece of cake", "dessert", "slice of cake", "cupcake"),
    "chair": ("chair", "seat", "armchair"), "couch": ("couch", "sofa", "love seat", "loveseat"),
    "potted plant": ("plant", "potted plant", "flowers", "plant in pot"), "bed": ("bed", "mattress"),
    "dining table": ("table", "dining table", "desk", "counter"), "toilet": ("toilet", "urinal"),
    "tv": ("tv", "screen", "monitor", "television", "computer screen"), "laptop": ("laptop", "computer", "screen"),
    "mouse": ("mouse", "computer mouse"), "remote": ("remote", "controller", "remote control", "wii remote"),
    "keyboard": ("keyboard", "keys"), "cell phone": ("phone", "cell phone", "cellphone", "mobile"),
    "microwave": ("microwave",), "oven": ("oven", "stove"), "toaster": ("toaster",), "sink": ("sink", "basin"),
    "refrigerator": ("fridge", "refrigerator", "freezer"), "book": ("book", "books"), "clock": ("clock", "watch"),
    "vase": ("vase", "pot", "jar", "flower vase"), "scissors": ("scissors", "pair of scissors", "scissor"),
    "teddy bear": ("teddy bear", "teddy", "bear", "stuffed animal", "toy", "stuffed bear"),
    "hair drier": ("hair drier", "dryer"), "toothbrush": ("toothbrush", "brush"),
}  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "vehicle": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "fruit": ("banana", "apple", "orange"),
    "food": (
        "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake",
    ),
    "dish": ("bottle", "wine glass", "cup", "bowl", "fork", "knife", "spoon"),
}  # fmt: skip

ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "baseball bat": (
        ("batter", "hitter", "player with bat", "baseball player with bat"),
        ("with bat", "holding bat", "at bat"),
    ),
    "baseball glove": (
        ("catcher", "player with glove", "player with mitt"),
        ("with glove", "with mitt"),
    ),
    "tennis racket": (("player", "tennis player", "player with racket"), ("with racket", "holding racket")),
    "skis": (("skier", "skiier"), ("on skis", "skiing")),
    "snowboard": (("snowboarder", "boarder", "rider"), ("on snowboard", "snowboarding", "with board")),
    "surfboard": (("surfer", "rider"), ("on surfboard", "surfing", "with board", "on board")),
    "skateboard": (("skater", "skateboarder", "rider"), ("on skateboard", "skating", "on board")),
    "horse": (("rider", "jockey", "horse rider"), ("on horse", "riding horse", "on the horse")),
    "motorcycle": (("rider", "biker", "driver"), ("on motorcycle", "on bike", "riding bike", "on the bike")),
    "bicycle": (("biker", "cyclist", "rider", "bike rider"), ("on bike", "on bicycle", "riding bike")),
    "umbrella": ((), ("with umbrella", "holding umbrella", "under umbrella")),
    "cell phone": ((), ("with phone", "on phone", "holding phone", "on the phone", "talking on phone")),
    "tie": ((), ("in suit", "with tie", "wearing tie", "in a suit", "wearing a suit", "in suit and tie")),
    "backpack": ((), ("with backpack", "with bag", "wearing backpack", "carrying backpack")),
    "handbag": ((), ("with bag", "with purse", "carrying bag", "holding bag")),
    "suitcase": ((), ("with suitcase", "with luggage", "with bag", "carrying suitcase")),
    "frisbee": ((), ("with frisbee", "catching frisbee", "holding frisbee")),
    "kite": ((), ("with kite", "holding kite", "flying kite")),
    "laptop": ((), ("with laptop", "on laptop", "using laptop", "with computer", "at computer")),
    "bottle": ((), ("with bottle", "holding bottle", "with drink")),
    "wine glass": ((), ("with wine", "with wine glass", "holding glass", "drinking wine", "with glass")),
    "cup": ((), ("with cup", "holding cup", "with drink", "drinking")),
    "pizza": ((), ("with pizza", "eating pizza", "holding pizza", "eating")),
    "sandwich": ((), ("with sandwich", "eating sandwich", "holding sandwich", "eating")),
    "hot dog": ((), ("with hot dog", "eating hotdog", "eating")),
    "donut": ((), ("with donut", "eating donut", "holding donut", "eating")),
    "banana": ((), ("with banana", "eating banana", "holding banana")),
    "cake": ((), ("with cake", "cutting cake", "eating cake")),
    "knife": ((), ("with knife", "holding knife", "cutting")),
    "remote": ((), ("with remote", "holding remote", "playing wii", "with controller", "playing")),
    "teddy bear": ((), ("with teddy bear", "holding bear", "with teddy", "holding teddy bear")),
    "dog": ((), ("with dog", "holding dog", "with the dog")),
    "cat": ((), ("with cat", "holding cat")),
    "book": ((), ("with book", "reading", "reading book")),
    "scissors": ((), ("with scissors", "holding scissors")),
    "sports ball": ((), ("with ball", "with the ball", "playing ball")),
}
"""What a person is called, and how she is described, who holds, wears or rides an object of the class."""
SEATS = ("chair", "couch", "bench", "toilet", "bed")

CLOTHES = {
    "torso": ("shirt", "shirt", "shirt", "top", "jacket", "tshirt", "t shirt", "coat", "sweater"),
    "legs": ("pants", "pants", "jeans", "shorts", "trousers"),
}
COLOURS = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SHADES = {
    "black": ("black", "dark", "blk"), "gray": ("gray", "grey", "silver"), "brown": ("brown", "tan", "wooden"),
    "blue": ("blue", "dark blue", "light blue", "navy"), "red": ("red", "maroon"), "white": ("white", "light"),
    "green": ("green", "dark green", "light green"), "pink": ("pink",), "purple": ("purple",),
    "yellow": ("yellow",), "orange": ("orange",),
}  # fmt: skip


@lru_cache
def categories_of(noun: str) -> frozenset[str]:
    """Every class that the noun may name: a synonym is often shared, as "bag" is."""
    if noun in ANY:
        return frozenset({"person", *SYNONYMS})
    if noun in PEOPLE or noun in NEUTRAL:
        return frozenset({"person"})
    found = {category for category, words in SYNONYMS.items() if noun == category or noun in words}
    return frozenset(found | set(GROUPS.get(noun, ())) or {noun})
