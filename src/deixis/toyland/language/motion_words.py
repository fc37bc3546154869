"""Verbs and sentence templates of clips, in training and held out for testing."""

from typing import Literal

from .programs import Event, Passing
from .vocabulary import Words, words

# Of each action: walks, walking, walk.
VERBS: dict[str, tuple[str, str, str]] = {
    "walking": ("walks", "walking", "walk"),
    "running": ("runs", "running", "run"),
    "crawling": ("crawls", "crawling", "crawl"),
    "flying": ("flies", "flying", "fly"),
    "swimming": ("swims", "swimming", "swim"),
    "driving": ("drives", "driving", "drive"),
    "sailing": ("sails", "sailing", "sail"),
    "rolling": ("rolls", "rolling", "roll"),
    "jumping": ("jumps", "jumping", "jump"),
    "moving": ("moves", "moving", "move"),
    "none": ("moves", "moving", "move"),
}

# {v} {g} {b} are the forms of the verb. Full sentences are for `toyland-g`.
FULL: dict[Event, Words] = {
    "moves": words("the {np} that {v}|the {np} that is {g}", "the one {np} in motion"),
    "rests": words("the {np} that does not move|the {np} that stays where it is", "the {np} that keeps still"),
    "stops": words("the {np} that stops|the {np} that {v} and then stops", "the {np} that comes to a halt"),
    "starts": words("the {np} that starts to {b}|the {np} that stands first and then {v}", "the {np} that sets off"),
    "turns": words("the {np} that turns around|the {np} that turns", "the {np} that faces the other way later"),
    "leaves": words("the {np} that leaves|the {np} that {v} out of the picture", "the {np} that disappears"),
    "departs": words("the {np} that {v} away|the {np} that is {g} away", "the {np} that goes off"),
    "nearer": words("the {np} that comes closer|the {np} that {v} towards us", "the {np} that approaches"),
    "jumps": words("the {np} that jumps|the {np} that jumps up and down", "the {np} that hops"),
    "to_left": words("the {np} that {v} to the left|the {np} {g} left", "the {np} that goes leftwards"),
    "to_right": words("the {np} that {v} to the right|the {np} {g} right", "the {np} that goes rightwards"),
}
SHORT: dict[Event, Words] = {
    "moves": words("{np} {g}|{g} {np}", "{np} in motion"),
    "rests": words("{np} not moving|still {np}", "motionless {np}"),
    "stops": words("{np} that stops|stopping {np}", "{np} coming to a halt"),
    "starts": words("{np} that starts to {b}|{np} starting to {b}", "{np} setting off"),
    "turns": words("{np} turning around|{np} that turns", "{np} changing direction"),
    "leaves": words("{np} leaving|{np} that leaves", "disappearing {np}"),
    "departs": words("{np} {g} away|{np} that {v} away", "{np} going off"),
    "nearer": words("{np} coming closer|{np} {g} towards us", "approaching {np}"),
    "jumps": words("jumping {np}|{np} that jumps", "hopping {np}"),
    "to_left": words("{np} {g} left|{np} {g} to the left", "{np} going leftwards"),
    "to_right": words("{np} {g} right|{np} {g} to the right", "{np} going rightwards"),
}
FULL_PASSING: dict[Passing, Words] = {
    "behind": words("the {np} that {v} behind the {other}|the {np} that passes behind the {other}",
                    "the {np} that the {other} covers on its way"),
    "in_front_of": words("the {np} that {v} in front of the {other}|the {np} that passes in front of the {other}",
                         "the {np} that covers the {other} on its way"),
}  # fmt: skip
SHORT_PASSING: dict[Passing, Words] = {
    "behind": words("{np} {g} behind {other}|{np} passing behind {other}", "{np} covered by {other} on the way"),
    "in_front_of": words("{np} {g} in front of {other}|{np} passing {other}", "{np} covering {other} on the way"),
}
Form = Literal["full", "short"]
EVENT_TEMPLATES: dict[Form, dict[Event, Words]] = {"full": FULL, "short": SHORT}
PASSING_TEMPLATES: dict[Form, dict[Passing, Words]] = {"full": FULL_PASSING, "short": SHORT_PASSING}
