"""Configs to JSON and back: pydantic checks the values, and every mistake is one sentence that says where it stands."""

import json
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..errors import InputError, did_you_mean
from ..records import Config

T = TypeVar("T")

# The one table of old names: for the class of a config, its old fields, as older checkpoints and runs have them.
OLD_NAMES: dict[str, dict[str, str]] = {
    "Preprocess": {"max_words": "max_tokens"},
    "Optimiser": {"matrix_lr": "muon_lr"},
    "StartFrom": {"only": "patterns", "needed": "required"},
    "ToylandData": {"registers": "subsets"},
    "MaskGroundingConfig": {"share": "fraction"},
}
OLD_TYPES = {
    "RefCOCOData": "StoredData",
    "PointingConfig": "LateFusionConfig",
    "ParsingConfig": "SceneParsingConfig",
    "GroundingConfig": "MaskGroundingConfig",
}
OLD_SYSTEMS = {"pointing": "late_fusion", "parsing": "scene_parsing"}


def to_dict(config: Any) -> dict[str, Any]:
    """JSON-able: tuples become lists, and where a field may hold several classes, `type` says which it is."""
    hints = get_type_hints(type(config))
    plain: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        plain[each.name] = _plain(value)
        if is_dataclass(value) and _is_open(hints[each.name]):
            plain[each.name] = {"type": _name_in(hints[each.name], type(value)), **plain[each.name]}
    return plain


def type_name(kind: type) -> str:
    """What `type` says: the class's name, outside of this package with its module, `my_package.my_file:MyConfig`."""
    is_ours = kind.__module__.partition(".")[0] == __package__.partition(".")[0]
    return kind.__name__ if is_ours else f"{kind.__module__}:{kind.__qualname__}"


def from_dict(
    kind: type[T], plain: Any, where: str = "The configuration", known: Mapping[str, type] | None = None
) -> T:
    """The config that `to_dict` wrote.

    `known` are the classes that a field of type `Config` may hold, by their `type_name`. Raises `InputError` naming the
    field that is unknown, missing or of the wrong type.
    """
    if not isinstance(plain, Mapping):
        raise InputError(f"{where} is {plain!r}; expected an object with the fields of {kind.__name__}.")
    hints = get_type_hints(kind)
    own = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    renamed = _renamed(kind.__name__, plain)
    for name in renamed:
        if name not in own:
            raise InputError(f"{where} has no field {name!r}. {did_you_mean(name, own)}")
    values = {name: _value(hints[name], value, f"{where}: {name}", known or {}) for name, value in renamed.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without default that is missing
        raise InputError(f"{where} is incomplete ({error}).") from error
    except InputError as error:  # the config's own check, which does not know where the config stands
        raise InputError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str, known: Mapping[str, type]) -> Any:
    nested = _dataclasses(hint)
    if _is_open(hint) and isinstance(value, Mapping):
        choices = {each.__name__: each for each in nested} or known
        name = OLD_TYPES.get(str(value.get("type")), str(value.get("type")))
        if name not in choices:
            raise InputError(f"{where} is of type {name!r}. {did_you_mean(name, choices)}")
        return from_dict(choices[name], {key: each for key, each in value.items() if key != "type"}, where, known)
    if nested and (isinstance(value, Mapping) or len(_choices(hint)) == 1):
        return from_dict(nested[0], value, where, known)
    if isinstance(value, Mapping) and (inner := _inner(hint)):
        return {key: from_dict(inner[0], each, f"{where}.{key}", known) for key, each in value.items()}
    try:
        checked = _adapter(hint).validate_json(json.dumps(value))
    except ValidationError as error:
        raise InputError(_sentence(error.errors()[0], where)) from error
    return tuple(checked) if get_origin(hint) is Sequence else checked


@lru_cache
def _adapter(hint: Any) -> Any:
    """The TypeAdapter of a field: JSON's own types alone, so that '3' and True are not integers."""
    return TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


def _renamed(kind: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = OLD_NAMES.get(kind, {})
    renamed = {names.get(name, name): value for name, value in plain.items()}
    if kind == "Card" and isinstance(system := renamed.get("system"), str):
        renamed["system"] = OLD_SYSTEMS.get(system, system)
    elif kind == "Optimiser" and "slow" in renamed:
        renamed["lr_multipliers"] = dict.fromkeys(renamed.pop("slow"), renamed.pop("slowness", 0.1))
    elif kind == "StartFrom" and "take" in renamed:
        old, new = renamed.pop("take"), renamed.pop("put", "")
        renamed["prefixes"] = {old: new} if old or new else {}
    elif kind in {"ToylandData", "StoredData"} and "every_sentence" in renamed:
        renamed["draw"] = "sentence" if renamed.pop("every_sentence") else "object"
    elif kind in {"SDAConfig", "CMPCConfig"} and isinstance(vision := renamed.get("vision"), Mapping):
        renamed["vision"] = {"type": "ResNetConfig", **vision}  # the only encoder, before there were clips
    elif kind == "Run" and "grounding" in renamed:
        grounding = renamed.pop("grounding")
        renamed |= {} if grounding is None else {"objective": {"type": "MaskGroundingConfig", **grounding}}
    return renamed


def _sentence(error: ErrorDetails, where: str) -> str:
    """Pydantic's first complaint as one sentence of ours."""
    place = where + "".join(f"[{part}]" for part in error["loc"] if isinstance(part, int))
    if error["type"] in {"literal_error", "enum"}:
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return f"{place} is {error['input']!r}. {did_you_mean(str(error['input']), known)}"
    if error["type"] == "missing":
        return f"{where} has {len(error['input'])} values, fewer than it needs; add the missing ones."
    message = error["msg"].replace("Input should be", "expected").partition(", got ")[0]
    return f"{place} is {error['input']!r}; {message}."


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _name_in(hint: Any, kind: type) -> str:
    return type_name(kind) if Config in _choices(hint) else kind.__name__


def _is_open(hint: Any) -> bool:
    """Whether the field may hold one of several classes."""
    return Config in _choices(hint) or len(_dataclasses(hint)) > 1


def _dataclasses(hint: Any) -> list[Any]:
    return [choice for choice in _choices(hint) if is_dataclass(choice)]


def _inner(hint: Any) -> list[Any]:
    """The dataclasses that a mapping holds."""
    return [each for each in get_args(hint) if is_dataclass(each)]


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
