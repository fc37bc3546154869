"""Domains: content, style and subset, and the held-out pairs of kind and colour."""

from dataclasses import replace

import pytest

from deixis.toyland.scene.domains import (
    CONTENTS,
    DISCREPANCIES,
    DOMAINS,
    PAINTED,
    STYLES,
    TRANSFERS,
    Content,
    Discrepancy,
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


@pytest.mark.parametrize("name", TRANSFERS)
def test_the_domains_of_a_transfer_differ_in_content_style_and_language(name: str) -> None:
    assert TRANSFERS[name].discrepancies == DISCREPANCIES


@pytest.mark.parametrize("name", TRANSFERS)
def test_the_contents_of_a_transfer_share_some_kinds_and_not_all(name: str) -> None:
    transfer = TRANSFERS[name]
    shares = [{kind: one.content.weights.get(kind, 0) for kind in KINDS} for one in (transfer.source, transfer.target)]
    shares = [{kind: weight / sum(each.values()) for kind, weight in each.items()} for each in shares]
    overlap = sum(min(one, two) for one, two in zip(*(each.values() for each in shares), strict=True))
    assert 0.1 < overlap < 0.75


@pytest.mark.parametrize("only", [*((one,) for one in DISCREPANCIES), ("style", "subset"), ()])
def test_discrepancies_are_turned_separately(only: tuple[Discrepancy, ...]) -> None:
    for transfer in TRANSFERS.values():
        turned = transfer.turned(only)
        assert turned.discrepancies == tuple(part for part in DISCREPANCIES if part in only)
        assert turned.source == transfer.source
        assert all(getattr(turned.target, part) == getattr(transfer.target, part) for part in only)
    assert transfer.turned(DISCREPANCIES) == transfer


def test_names_are_keys() -> None:
    assert all(content.name == name for name, content in CONTENTS.items())
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
