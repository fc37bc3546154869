"""Nested frozen dataclasses to plain dicts and back, checked: what a card or a run's file says is what is built."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import DeixisError, InputError, did_you_mean

Config = TypeVar("Config")

# Class of a config -> the old names of its fields, as checkpoints and runs of before have them.
OLD_NAMES: dict[str, dict[str, str]] = {"Preprocess": {"max_words": "max_tokens"}}


def to_dict(config: Any) -> dict[str, Any]:
    """JSON-able: tuples become lists, and where a field may hold several dataclasses, `type` says which it is."""
    hints = get_type_hints(type(config))
    plain: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        plain[each.name] = _plain(value)
        if is_dataclass(value) and len(_dataclasses(hints[each.name])) > 1:
            plain[each.name] = {"type": type(value).__name__, **plain[each.name]}
    return plain


def from_dict(kind: type[Config], plain: Any, where: str = "The configuration") -> Config:
    """The config that `to_dict` wrote. Raises DeixisError naming the field that is unknown, missing or mistyped."""
    if not isinstance(plain, Mapping):
        raise InputError(f"{where} is {plain!r}; an object with the fields of {kind.__name__} is wanted.")
    old = OLD_NAMES.get(kind.__name__, {})
    plain = {old.get(name, name): value for name, value in plain.items()}
    hints = get_type_hints(kind)
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    for name in plain:
        if name not in known:
            raise InputError(f"{where} has no field {name!r}. {did_you_mean(name, known)}")
    values = {name: _typed(hints[name], value, f"{where}: {name}") for name, value in plain.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without default that is missing
        raise InputError(f"{where} is incomplete ({error}).") from error
    except DeixisError as error:  # the config's own, which does not know where it stands
        raise InputError(f"{where}: {error}") from error


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


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} is {value!r}. {did_you_mean(str(value), map(str, arguments))}")
        return value
    if origin in (tuple, Sequence) and isinstance(value, list | tuple):
        return _tuple(arguments if origin is tuple else (*arguments, ...), value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        known = {str(member.value): member for member in hint}
        if str(value) not in known:
            raise InputError(f"{where} is {value!r}. {did_you_mean(str(value), known)}")
        return known[str(value)]
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if isinstance(value, Mapping):
            return {key: _typed(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    elif isinstance(hint, type) and is_dataclass(hint):
        return from_dict(hint, value, where)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise InputError(f"{where} is {value!r}; {getattr(hint, '__name__', hint)} is wanted.")


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    classes = {choice.__name__: choice for choice in rest if isinstance(choice, type) and is_dataclass(choice)}
    if len(classes) > 1 and isinstance(value, Mapping):
        name = str(value.get("type"))
        if name not in classes:
            raise InputError(f"{where} is of type {name!r}. {did_you_mean(name, classes)}")
        return from_dict(classes[name], {key: each for key, each in value.items() if key != "type"}, where)
    for choice in rest[:-1]:
        try:
            return _typed(choice, value, where)
        except DeixisError:
            continue  # the last choice's complaint is the one that is raised
    return _typed(rest[-1], value, where)


def _tuple(arguments: tuple[Any, ...], value: list[Any] | tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise InputError(f"{where} has {len(value)} values; {len(arguments)} are wanted.")
    return tuple(
        _typed(hint, each, f"{where}[{at}]") for at, (hint, each) in enumerate(zip(arguments, value, strict=True))
    )


def _dataclasses(hint: Any) -> list[Any]:
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [choice for choice in choices if is_dataclass(choice)]
