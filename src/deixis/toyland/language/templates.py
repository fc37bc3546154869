"""Templates of expressions: short ones for `toyland` and `toyland+`, full sentences for `toyland-g`.

In a template `{np}` is a noun phrase without an article and `{other}` one with its article; the remaining fields are
words of the vocabulary.
"""

from .vocabulary import Words, words

SHORT: dict[str, Words] = {
    "plain": words("{np}|the {np}", "that {np}|it's the {np}"),
    "side_most": words(
        "{side} {np}|{np} {side}|{side} most {np}|far {side} {np}|{np} far {side}|{side} side {np}",
        "{np} furthest to the {side}|{np} at the very {side}",
    ),
    "side_at": words(
        "{np} on {side}|{np} on the {side}|{np} on {side} side|{np} to the {side}|{np} at {side}",
        "{np} on the {side} hand side|{np} over on the {side}",
    ),
    "topmost": words("top {np}|highest {np}|upper {np}|{np} at top", "uppermost {np}|{np} higher up"),
    "bottommost": words("bottom {np}|lowest {np}|lower {np}|{np} at bottom", "{np} lowest down|bottommost {np}"),
    "nearest": words(
        "front {np}|closest {np}|{np} in front|nearest {np}|{np} closest to us", "foreground {np}|{np} up front"
    ),
    "farthest": words(
        "back {np}|{np} in back|farthest {np}|{np} in the back|{np} farthest away", "background {np}|{np} way back"
    ),
    "ordinal": words(
        "{ordinal} {np} from {side}|{np} {ordinal} from {side}|{ordinal} from {side} {np}|"
        "{ordinal} {np} from the {side}",
        "{np} that comes {ordinal} from {side}|{np} {ordinal} in from {side}",
    ),
    "middle": words(
        "middle {np}|{np} in middle|center {np}|{np} in the middle",
        "central {np}|{np} at the center",
    ),
    "corner": words(
        "{np} in {height} {side} corner|{height} {side} {np}|{np} {height} {side}|{height} {side} corner {np}",
        "{np} in the corner at {height} {side}|{np} towards {height} {side}",
    ),
    "size": words("{size} {np}|the {size} {np}", "that {size} {np}|{size} looking {np}"),
    "related": words("{np} {relation} {other}", "{np} that's {relation} {other}"),
    "closest": words(
        "{np} closest to {other}|{np} nearest {other}|{np} nearest to {other}", "{np} least far from {other}"
    ),
    "hidden": words(
        "partly hidden {np}|half hidden {np}|{np} partly hidden|{np} partly covered",
        "partially concealed {np}|{np} you can only see part of",
    ),
    "negation": words(
        "{np} not {quality}|not {quality} {np}|{np} that is not {quality}",
        "{np} that isn't {quality}|non {quality} {np}",
    ),
    "only": words("only {np}|the only {np}", "sole {np}"),
}

FULL: dict[str, Words] = {
    "plain": words(
        "the {np}|a {np}|the {np} in the picture|the only {np} that you can see",
        "there is just one {np}|please find the {np}",
    ),
    "side_most": words(
        "the {np} that is farthest to the {side}|the {side}most of all the {plural}|"
        "the {np} on the far {side} of the picture",
        "the {np} you find when you go all the way to the {side}",
    ),
    "side_at": words(
        "the {np} on the {side} side of the picture|a {np} that is on the {side} side|"
        "the {np} that you see on the {side}",
        "a {np} located in the {side} half of the image",
    ),
    "topmost": words(
        "the {np} that is highest up in the picture|the {np} at the top of the picture", "the {np} above all the rest"
    ),
    "bottommost": words(
        "the {np} that is lowest in the picture|the {np} at the bottom of the picture", "the {np} below all the rest"
    ),
    "nearest": words(
        "the {np} that is closest to the camera|the {np} in front of the others|the {np} closest to us",
        "the {np} in the foreground of the image",
    ),
    "farthest": words(
        "the {np} that is farthest from the camera|the {np} that is farthest away|the {np} farthest in the back",
        "the {np} in the background of the image",
    ),
    "ordinal": words(
        "the {ordinal} {np} from the {side}|the {np} that is {ordinal} from the {side}|"
        "the {np} that is {ordinal} when you count from the {side}",
        "counted from the {side} it is the {ordinal} {np}",
    ),
    "middle": words(
        "the {np} in the middle of the {number}|the {np} that is between the other {plural}",
        "of the {plural} the central one",
    ),
    "size": words(
        "the {size} of the {number} {plural}|the {np} that is the {size} of all|the {size} {np} in the picture",
        "of all {plural} the {size}|there is a {np} and it is the {size} one",
    ),
    "related": words(
        "the {np} {relation} {other}|the {np} that is {relation} {other}|a {np} that is {relation} {other}|"
        "a {np} {relation} {other}",
        "there is a {np} {relation} {other}|the {np} that can be seen {relation} {other}",
    ),
    "closest": words(
        "the {np} that is closest to {other}|the {np} nearest to {other}|"
        "of the {number} {plural} the one closest to {other}",
        "the {np} with the shortest way to {other}",
    ),
    "hidden": words(
        "the {np} that is partly hidden|a {np} that is partly covered by something|the {np} that is half hidden",
        "a {np} of which you can only see a part",
    ),
    "negation": words(
        "the {np} that is not {quality}|the only {np} that is not {quality}|a {np} which is not {quality}",
        "the {np} that isn't {quality} at all",
    ),
}

PAIRS: dict[str, Words] = {
    "both": words("both {plural}|the two {plural}|two {plural}", "the pair of {plural}"),
    "listed": words("{one} and {two}|the {one} and the {two}", "{one} together with {two}"),
}
