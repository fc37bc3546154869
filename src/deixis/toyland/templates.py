"""The sentences that expressions are made of: short ones for `toyland` and `toyland+`, full ones for `toyland-g`.

A template's fields are filled by the grammar: `np` is a noun phrase without an article, `other` one with what
article it needs; the remaining fields are words of the vocabulary.
"""

from .vocabulary import Words


def _ways(training: str, held_out: str) -> Words:
    return Words(tuple(training.split("|")), tuple(held_out.split("|")))


SHORT: dict[str, Words] = {
    "plain": _ways("{np}|the {np}", "that {np}|it's the {np}"),
    "side_most": _ways(
        "{side} {np}|{np} {side}|{side} most {np}|far {side} {np}|{np} far {side}|{side} side {np}",
        "{np} furthest to the {side}|{np} at the very {side}",
    ),
    "side_at": _ways(
        "{np} on {side}|{np} on the {side}|{np} on {side} side|{np} to the {side}|{np} at {side}",
        "{np} on the {side} hand side|{np} over on the {side}",
    ),
    "topmost": _ways("top {np}|highest {np}|upper {np}|{np} at top", "uppermost {np}|{np} higher up"),
    "bottommost": _ways("bottom {np}|lowest {np}|lower {np}|{np} at bottom", "{np} lowest down|bottommost {np}"),
    "nearest": _ways(
        "front {np}|closest {np}|{np} in front|nearest {np}|{np} closest to us", "foreground {np}|{np} up front"
    ),
    "farthest": _ways(
        "back {np}|{np} in back|farthest {np}|{np} in the back|{np} farthest away", "background {np}|{np} way back"
    ),
    "ordinal": _ways(
        "{ordinal} {np} from {side}|{np} {ordinal} from {side}|{ordinal} from {side} {np}|"
        "{ordinal} {np} from the {side}",
        "{np} that comes {ordinal} from {side}|{np} {ordinal} in from {side}",
    ),
    "middle": _ways(
        "middle {np}|{np} in middle|center {np}|{np} in the middle",
        "central {np}|{np} at the center",
    ),
    "corner": _ways(
        "{np} in {height} {side} corner|{height} {side} {np}|{np} {height} {side}|{height} {side} corner {np}",
        "{np} in the corner at {height} {side}|{np} towards {height} {side}",
    ),
    "size": _ways("{size} {np}|the {size} {np}", "that {size} {np}|{size} looking {np}"),
    "related": _ways("{np} {relation} {other}", "{np} that's {relation} {other}"),
    "closest": _ways(
        "{np} closest to {other}|{np} nearest {other}|{np} nearest to {other}", "{np} least far from {other}"
    ),
    "hidden": _ways(
        "partly hidden {np}|half hidden {np}|{np} partly hidden|{np} partly covered",
        "partially concealed {np}|{np} you can only see part of",
    ),
    "negation": _ways(
        "{np} not {quality}|not {quality} {np}|{np} that is not {quality}",
        "{np} that isn't {quality}|non {quality} {np}",
    ),
    "only": _ways("only {np}|the only {np}", "sole {np}"),
}

FULL: dict[str, Words] = {
    "plain": _ways(
        "the {np}|a {np}|the {np} in the picture|the only {np} that you can see",
        "there is just one {np}|please find the {np}",
    ),
    "side_most": _ways(
        "the {np} that is farthest to the {side}|the {side}most of all the {plural}|"
        "the {np} on the far {side} of the picture",
        "the {np} you find when you go all the way to the {side}",
    ),
    "side_at": _ways(
        "the {np} on the {side} side of the picture|a {np} that is on the {side} side|"
        "the {np} that you see on the {side}",
        "a {np} located in the {side} half of the image",
    ),
    "topmost": _ways(
        "the {np} that is highest up in the picture|the {np} at the top of the picture", "the {np} above all the rest"
    ),
    "bottommost": _ways(
        "the {np} that is lowest in the picture|the {np} at the bottom of the picture", "the {np} below all the rest"
    ),
    "nearest": _ways(
        "the {np} that is closest to the camera|the {np} in front of the others|the {np} closest to us",
        "the {np} in the foreground of the image",
    ),
    "farthest": _ways(
        "the {np} that is farthest from the camera|the {np} that is farthest away|the {np} farthest in the back",
        "the {np} in the background of the image",
    ),
    "ordinal": _ways(
        "the {ordinal} {np} from the {side}|the {np} that is {ordinal} from the {side}|"
        "the {np} that is {ordinal} when you count from the {side}",
        "counted from the {side} it is the {ordinal} {np}",
    ),
    "middle": _ways(
        "the {np} in the middle of the {number}|the {np} that is between the other {plural}",
        "of the {plural} the central one",
    ),
    "size": _ways(
        "the {size} of the {number} {plural}|the {np} that is the {size} of all|the {size} {np} in the picture",
        "of all {plural} the {size}|there is a {np} and it is the {size} one",
    ),
    "related": _ways(
        "the {np} {relation} {other}|the {np} that is {relation} {other}|a {np} that is {relation} {other}|"
        "a {np} {relation} {other}",
        "there is a {np} {relation} {other}|the {np} that can be seen {relation} {other}",
    ),
    "closest": _ways(
        "the {np} that is closest to {other}|the {np} nearest to {other}|"
        "of the {number} {plural} the one closest to {other}",
        "the {np} with the shortest way to {other}",
    ),
    "hidden": _ways(
        "the {np} that is partly hidden|a {np} that is partly covered by something|the {np} that is half hidden",
        "a {np} of which you can only see a part",
    ),
    "negation": _ways(
        "the {np} that is not {quality}|the only {np} that is not {quality}|a {np} which is not {quality}",
        "the {np} that isn't {quality} at all",
    ),
}

PAIRS: dict[str, Words] = {
    "both": _ways("both {plural}|the two {plural}|two {plural}", "the pair of {plural}"),
    "listed": _ways("{one} and {two}|the {one} and the {two}", "{one} together with {two}"),
}
