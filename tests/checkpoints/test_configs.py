"""Configs survive the way through JSON, and every mistake in one is named."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest

from deixis.checkpoints.configs import from_dict, to_dict, type_name
from deixis.errors import DeixisError, InputError
from deixis.records import Config


class Way(StrEnum):
    TOP = "top"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    size: int = 3
    rate: float = 0.5
    name: str = "leaf"


@dataclass(frozen=True, kw_only=True)
class Stone:
    weight: float


@dataclass(frozen=True, kw_only=True)
class Tree:
    leaf: Leaf = field(default_factory=Leaf)
    thing: Leaf | Stone = field(default_factory=Leaf)
    depths: Sequence[int] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    names: tuple[str, ...] = ()
    limit: int | None = None
    way: Way = Way.TOP
    kind: Literal["a", "b"] = "a"
    open: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)


TREES = [
    Tree(),
    Tree(thing=Stone(weight=2.5), depths=(3,), names=("x", "y"), limit=4, way=Way.ALL, kind="b", open=False),
    Tree(leaf=Leaf(size=9), notes={"scores": {"val": 0.5}}),
]


@pytest.mark.parametrize("tree", TREES)
def test_a_config_comes_back_through_json(tree: Tree) -> None:
    back = from_dict(Tree, json.loads(json.dumps(to_dict(tree))))
    assert back == tree
    assert isinstance(back.way, Way)
    assert isinstance(back.depths, tuple)


@dataclass(frozen=True, kw_only=True)
class Window:
    side: int = 1

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError(f"A window's side cannot be {self.side}.")


@dataclass(frozen=True, kw_only=True)
class House:
    window: Window = field(default_factory=Window)


def test_what_a_config_refuses_is_told_with_its_place() -> None:
    with pytest.raises(DeixisError) as error:
        from_dict(House, {"window": {"side": 0}}, "card")
    assert str(error.value) == "card: window: A window's side cannot be 0."


def test_fields_left_out_have_their_defaults() -> None:
    assert from_dict(Tree, {"leaf": {"size": 4}}) == Tree(leaf=Leaf(size=4))


def test_whole_numbers_may_stand_for_real_ones() -> None:
    assert from_dict(Leaf, {"rate": 1}).rate == 1.0
    assert isinstance(from_dict(Leaf, {"rate": 1}).rate, float)


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ([1], "card is [1]; expected an object with the fields of Tree."),
        ({"leav": {}}, "has no field 'leav'. Did you mean 'leaf'?"),
        ({"leaf": {"siz": 1}}, "card: leaf has no field 'siz'. Did you mean 'size'?"),
        ({"leaf": {"size": "3"}}, "card: leaf: size is '3'; expected a valid integer."),
        ({"leaf": {"size": True}}, "size is True; expected a valid integer."),
        ({"leaf": {"size": 1.5}}, "size is 1.5; expected a valid integer."),
        ({"leaf": 3}, "leaf is 3; expected an object with the fields of Leaf."),
        ({"thing": {"type": "Stnoe", "weight": 1}}, "is of type 'Stnoe'. Did you mean 'Stone'?"),
        ({"thing": {"type": "Stone"}}, "thing is incomplete"),
        ({"depths": [1, "2"]}, "depths[1] is '2'"),
        ({"depths": 4}, "depths is 4"),
        ({"pair": [1]}, "pair has 1 values, fewer than it needs; add the missing ones."),
        ({"pair": [1, 2, 3]}, "pair is [1, 2, 3]; Tuple should have at most 2 items after validation, not 3."),
        ({"limit": "many"}, "limit is 'many'"),
        ({"way": "tpo"}, "way is 'tpo'. Did you mean 'top'?"),
        ({"kind": "c"}, "kind is 'c'. Choose one of: a, b."),
        ({"open": 1}, "open is 1; expected a valid boolean."),
        ({"notes": []}, "notes is []"),
    ],
)
def test_a_mistake_is_named_with_its_place(plain: Any, sentence: str) -> None:
    with pytest.raises(DeixisError) as error:
        from_dict(Tree, plain, "card")
    assert sentence in str(error.value)


@dataclass(frozen=True, kw_only=True)
class Oak(Config):
    leaf: Leaf = field(default_factory=Leaf)


@dataclass(frozen=True, kw_only=True)
class Pine(Config):
    height: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Forest:
    first: Config
    others: Mapping[str, Pine] = field(default_factory=dict)


def test_a_field_for_any_config_is_read_by_the_class_that_its_type_names() -> None:
    forest = Forest(first=Oak(leaf=Leaf(size=7)), others={"left": Pine(height=2.0), "right": Pine()})
    plain = json.loads(json.dumps(to_dict(forest)))
    assert plain["first"]["type"] == type_name(Oak) == f"{__name__}:Oak"
    known = {type_name(kind): kind for kind in (Oak, Pine)}
    assert from_dict(Forest, plain, known=known) == forest
    with pytest.raises(InputError, match=r"first is of type '.*:Oak'\. (Did you mean|Choose one of)"):
        from_dict(Forest, plain, known={type_name(Pine): Pine})
    plain["others"]["left"]["hight"] = 1
    with pytest.raises(InputError, match=r"card: others\.left has no field 'hight'\. Did you mean 'height'\?"):
        from_dict(Forest, plain, "card", known)
