"""Predicates as words: nouns, what stands before them and after them, and the sentence that they make."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .nouns import CLOTHES, GROUPS, PEOPLE, ROLES, SHADES, categories_of
from .predicates import Atom

ORDINALS = {"1": ("first",), "2": ("second", "2nd"), "3": ("third", "3rd"), "4": ("fourth", "4th"), "5": ("fifth",)}


@dataclass(frozen=True)
class Words:
    """The words for a predicate: before the noun, after it, or in place of it."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()


def words_of(atom: Atom) -> Words:
    """Every way to say the predicate."""
    kind, *arguments = atom
    if kind == "extreme":
        return _place_words(arguments[:-1])
    if kind == "ordinal":
        number, side, _ = arguments
        said = tuple(f"{each} from {the}{side}" for each in ORDINALS[number] for the in ("", "the "))
        return Words(after=said, instead=said)
    if kind == "colour":
        return _colour_words(*arguments)
    if kind == "with":
        roles, phrases = ROLES[arguments[0]]
        return Words(after=phrases, instead=roles)
    if kind == "relation":
        return _relation_words(*arguments)
    if kind == "size" and arguments[0] == "small" and categories_of(arguments[1]) <= _ANIMALS:
        return _YOUNG
    return _FIXED[(kind, arguments[0])] if kind != "middle" else _MIDDLE


def sentence(head: str, parts: Sequence[Words], draw: np.random.Generator) -> str | None:
    """A sentence about the noun, None where the parts do not fit together: at most two words stand before it."""
    before: list[str] = []
    after: list[str] = []
    for part in parts:
        can_precede = part.before and len(before) < 2
        if part.instead and head in PEOPLE and draw.random() < 0.4:
            head = _one(part.instead, draw)
        elif can_precede and (not part.after or draw.random() < 0.45):
            before.append(_one(part.before, draw))
        elif part.after:
            after.append(_one(part.after, draw))
        else:
            return None
    draw.shuffle(after)
    if len(after) > 1 and draw.random() < 0.12:
        after = [after[0], "and", *after[1:]]
    words = " ".join([*before, head, *after])
    if draw.random() < 0.18:
        words = f"the {words}"
    return " ".join(words.split())


def _place_words(directions: Sequence[str]) -> Words:
    if len(directions) == 2:
        vertical, side = directions
        highs = ("top", "upper") if vertical == "top" else ("bottom", "lower")
        corners = [f"{high} {side}" for high in highs] + [f"{side} {highs[0]}"]
        after = [
            form.format(corner)
            for corner in corners
            for form in ("{}", "on {}", "in {} corner", "{} corner", "at {}", "in the {} corner", "on the {}")
        ]
        return Words(before=(*corners, f"{highs[0]} {side} corner"), after=tuple(after))
    (side,) = directions
    if side in ("left", "right"):
        return Words(
            before=(side, side, side, f"far {side}", f"{side}most", f"{side} most", f"{side} side", f"very {side}"),
            after=(
                *(f"on {side}", f"on the {side}", f"{side}", f"on {side} side", f"to the {side}", f"on far {side}"),
                *(f"on the far {side}", f"far {side}", f"{side} side", f"at {side}", f"on {side} of pic"),
                *(f"on the {side} side", f"in {side}", f"furthest {side}", f"all the way {side}", f"{side} edge"),
                *(f"on {side} of photo", f"{side} side of image", f"on the very {side}", f"on extreme {side}"),
            ),
        )
    if side == "top":
        return Words(
            before=("top", "top", "upper", "highest"),
            after=("on top", "at top", "up top", "at the top", "top", "on top of picture", "in the top"),
        )
    return Words(
        before=("bottom", "bottom", "lower", "lowest"),
        after=("on bottom", "at bottom", "at the bottom", "bottom", "on the bottom", "down", "in bottom of picture"),
    )


def _colour_words(part: str, colour: str) -> Words:
    shades = SHADES[colour]
    if part == "whole":
        return Words(before=shades, after=tuple(f"that is {shade}" for shade in shades))
    clothes = [f"{shade} {piece}" for shade in shades for piece in CLOTHES[part]]
    if part == "legs":
        return Words(
            after=tuple(f"{how} {each}" for each in clothes for how in ("in", "with", "wearing")),
            instead=tuple(clothes),
        )
    after = [f"{how} {each}" for each in clothes for how in ("in", "with", "in the", "wearing", "in a", "wearing a")]
    after += [f"{how} {shade}" for shade in shades for how in ("in", "in", "wearing") for _ in CLOTHES[part]]
    return Words(before=tuple(clothes), after=tuple(after), instead=tuple(clothes))


def _relation_words(relation: str, noun: str) -> Words:
    forms = {
        "next to": ("next to", "by", "near", "beside", "next to the", "by the", "near the", "closest to", "with"),
        "on": ("on", "on the", "on top of", "on top of the", "sitting on"),
        "left of": ("left of", "to left of", "to the left of", "left of the", "on left of"),
        "right of": ("right of", "to right of", "to the right of", "right of the", "on right of"),
        "above": ("above", "above the", "over", "over the"),
        "below": ("below", "below the", "under", "under the", "underneath"),
    }[relation]
    return Words(after=tuple(f"{form} {noun}" for form in forms))


def _one(choices: Sequence[str], draw: np.random.Generator) -> str:
    return choices[int(draw.integers(len(choices)))]


_ANIMALS = frozenset(GROUPS["animal"])
_YOUNG = Words(before=("small", "smallest", "little", "baby", "young", "short"))
_MIDDLE = Words(
    before=("middle", "middle", "center"),
    after=(
        *("in middle", "in the middle", "in center", "middle", "center", "in the center", "in the middle of pic"),
        "in between the others",
    ),
)
_FIXED: dict[tuple[str, str], Words] = {
    ("size", "big"): Words(before=("big", "biggest", "large", "largest", "bigger", "larger", "main")),
    ("size", "small"): Words(before=("small", "smallest", "little", "smaller", "tiny", "littlest")),
    ("size", "tall"): Words(before=("tallest", "tall", "taller")),
    ("depth", "front"): Words(
        before=("front", "closest", "nearest", "foreground", "close"),
        after=(
            *("in front", "in the front", "up front", "in foreground", "closest to us", "closest to camera"),
            *("closest", "nearest us", "in front row", "closest to you", "nearest to us", "nearest the camera"),
        ),
    ),
    ("depth", "back"): Words(
        before=("back", "far", "background", "furthest", "farthest", "distant"),
        after=(
            *("in back", "in the back", "in background", "in the background", "behind", "farthest away", "way back"),
            *("furthest back", "far away", "furthest from us", "in back row", "behind everyone", "far back"),
        ),
    ),
    ("posture", "sitting"): Words(
        before=("sitting", "seated"), after=("sitting", "sitting down", "who is sitting", "that is sitting", "seated")
    ),
    ("posture", "standing"): Words(
        before=("standing",), after=("standing", "standing up", "who is standing", "that is standing")
    ),
}
