"""Domains: content, style and subset, and the held-out pairs of kind and colour."""

from dataclasses import replace

import pytest

from deixis.toyland.scene.domains import (
    CONTENTS,
    DOMAINS,
    PAINTED,
    STYLES,
    Content,
    held_out_colour,
    is_held_out,
)
from deixis.toyland.scene.kinds import KINDS
from deixis.toyland.scene.scenes import COLOURS


def test_about_eight_percent_of_pairs_are_held_out_and_every_colour_with_some_kind() -> None:
    pairs = [(kind, colour) for kind in KINDS for colour in COLOURS if is_held_out(kind, colour)]
    assert 0.06 <= len(pairs) / (len(KINDS) * len(COLOURS)) <= 0.1
    assert {colour for _, colour in pairs} == set(COLOURS)
    assert all(held_out_colour(kind) == colour for kind, colour in pairs)
    assert len({kind for kind, _ in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("source", "target", "differs"),
    [
        ("toyland", "toyland+", {"subset"}),
        ("toyland", "toyland-g", {"subset"}),
        ("painted", "sketch", {"style"}),
        ("painted", "night", {"style"}),
        ("zoo", "street", {"content"}),
        ("painted-zoo", "sketch-street-g", {"content", "style", "subset"}),
    ],
)
def test_two_domains_differ_in_what_their_names_say(source: str, target: str, differs: set[str]) -> None:
    one, two = DOMAINS[source], DOMAINS[target]
    assert {part for part in ("content", "style", "subset") if getattr(one, part) != getattr(two, part)} == differs


def test_names_are_keys() -> None:
    assert all(style.name == name for name, style in STYLES.items())
    assert all(content.name == name for name, content in CONTENTS.items())
    assert {"painted", "sketch", "night", "blueprint", "photo"} == set(STYLES)


def test_invalid_contents_and_styles_are_refused() -> None:
    with pytest.raises(ValueError, match="unicorn"):
        Content(name="odd", weights={"unicorn": 1.0})
    with pytest.raises(ValueError, match="is empty"):
        Content(name="empty", weights={"cat": 0.0})
    with pytest.raises(ValueError, match="is empty"):
        Content(name="nowhere", weights={"cat": 1.0}, settings=())
    with pytest.raises(ValueError, match="has a negative noise"):
        replace(PAINTED, noise=-1)
