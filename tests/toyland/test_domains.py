"""The three knobs: content, style and register, and the pairs that training never sees."""

from dataclasses import replace

import pytest

from deixis.toyland.domains import (
    CONTENTS,
    DOMAINS,
    PAINTED,
    STYLES,
    Content,
    held_out_colour,
    is_held_out,
)
from deixis.toyland.scenes import COLOURS, KINDS


def test_about_eight_percent_of_pairs_are_held_out_and_every_colour_with_some_kind() -> None:
    pairs = [(kind, colour) for kind in KINDS for colour in COLOURS if is_held_out(kind, colour)]
    assert 0.06 <= len(pairs) / (len(KINDS) * len(COLOURS)) <= 0.1
    assert {colour for _, colour in pairs} == set(COLOURS)
    assert all(held_out_colour(kind) == colour for kind, colour in pairs)
    assert len({kind for kind, _ in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("source", "target", "differs"),
    [
        ("toyland", "toyland+", {"register"}),
        ("toyland", "toyland-g", {"register"}),
        ("painted", "sketch", {"style"}),
        ("painted", "night", {"style"}),
        ("zoo", "street", {"content"}),
        ("painted-zoo", "sketch-street-g", {"content", "style", "register"}),
    ],
)
def test_a_transfer_turns_the_knobs_it_is_named_for_and_no_other(source: str, target: str, differs: set[str]) -> None:
    one, two = DOMAINS[source], DOMAINS[target]
    assert {knob for knob in ("content", "style", "register") if getattr(one, knob) != getattr(two, knob)} == differs


def test_names_are_keys() -> None:
    assert all(style.name == name for name, style in STYLES.items())
    assert all(content.name == name for name, content in CONTENTS.items())
    assert {"painted", "sketch", "night", "blueprint", "photo"} == set(STYLES)


def test_content_and_style_refuse_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="unicorn"):
        Content(name="odd", weights={"unicorn": 1.0})
    with pytest.raises(ValueError, match="shows nothing"):
        Content(name="empty", weights={"cat": 0.0})
    with pytest.raises(ValueError, match="shows nothing"):
        Content(name="nowhere", weights={"cat": 1.0}, settings=())
    with pytest.raises(ValueError, match="negative"):
        replace(PAINTED, noise=-1)
