"""Expressions are grouped by their words and by their targets."""

import pytest

from deixis.metrics.breakdowns import groups_of, in_order


@pytest.mark.parametrize(
    ("area", "group"),
    [(0, "none"), (1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")],
)
def test_sizes_are_cocos(area: int, group: str) -> None:
    assert groups_of("cup", area)["target size"] == group


@pytest.mark.parametrize(
    ("expression", "group"),
    [
        ("cup", "1-2"),
        ("the red-brown cup!", "3"),
        ("man's cup, right there", "4-5"),
        ("a " * 10, "6-10"),
        ("a " * 11, "11+"),
    ],
)
def test_length_is_counted_in_words(expression: str, group: str) -> None:
    assert groups_of(expression, 1)["expression length"] == group


@pytest.mark.parametrize(
    ("expression", "location", "relation"),
    [
        ("LEFT cup", "with", "without"),
        ("cup next to the plate", "without", "with"),
        ("second man behind the bench", "with", "with"),
        ("bright onion topping", "without", "without"),  # words within words are no words
    ],
)
def test_location_and_relation_words_are_found_whole(expression: str, location: str, relation: str) -> None:
    groups = groups_of(expression, 1)
    assert (groups["location words"], groups["relation words"]) == (location, relation)


def test_same_category_objects_are_there_where_the_reader_counted() -> None:
    assert "same-category objects" not in groups_of("cup", 1)
    assert "same-category objects" not in groups_of("nothing", 0, {"same_category_count": 0})
    assert groups_of("cup", 1, {"same_category_count": 1})["same-category objects"] == "1"
    assert groups_of("cup", 1, {"same_kind": 4})["same-category objects"] == "3-4"
    assert groups_of("cup", 1, {"same_kind": 5})["same-category objects"] == "5+"


def test_each_feature_of_a_generated_expression_is_an_axis() -> None:
    groups = groups_of("cup", 1, {"features": ["relation", "negation"]})
    assert {axis for axis in groups if axis.startswith("asks")} == {"asks for relation", "asks for negation"}


def test_groups_are_listed_from_small_to_large() -> None:
    assert in_order(dict.fromkeys(["large", "small", "none", "medium"])) == ["none", "small", "medium", "large"]
    assert in_order(dict.fromkeys(["11+", "3", "1-2", "6-10", "4-5"])) == ["1-2", "3", "4-5", "6-10", "11+"]
    assert in_order(dict.fromkeys(["without", "with"])) == ["with", "without"]


def test_people_are_alone_or_several() -> None:
    def group(**traits: object) -> object:
        return groups_of("guy", 1, traits).get("people")

    assert group(category="person", same_category_count=1) == "one person"
    assert group(category="person", same_category_count=3) == "one of several"
    assert group(category="cup", same_category_count=3) == "not a person"
    assert group(same_category_count=3) is None


def test_each_kind_of_a_description_is_a_group() -> None:
    groups = groups_of("red cup on the left", 1, {"description": "extreme+colour"})
    assert groups["describes by extreme"] == groups["describes by colour"] == "with"
    free_text = groups_of("red cup", 1, {"description": "A cup, seen from above."})
    assert not [axis for axis in free_text if axis.startswith("describes by")]
