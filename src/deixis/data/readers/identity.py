"""Ids as people's tools write them: numbers, texts of digits, or any text."""

import math
from collections.abc import Mapping
from typing import Any

from ...errors import InputError

Identity = int | str  # texts of digits count as their number, so that 3 and "3" are one id


def identity(value: Any) -> Identity:
    """The id; raises ValueError where it is neither a whole number nor a text that can be written."""
    if isinstance(value, str) and value.strip():
        value.encode()  # raises for half a surrogate pair, which JSON can name and no file can hold
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
        return value if number is None or str(number) != value else number
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value == int(value):
        return int(value)
    raise ValueError(f"{value!r} is not an id")


def required_identity(record: Any, key: str, where: str) -> Identity:
    """The id under the key; raises InputError that names the key where it is missing or not an id."""
    if not isinstance(record, Mapping):
        raise InputError(f"{where} is of type {type(record).__name__}; expected an object with {key!r}.")
    if record.get(key) is None:
        raise InputError(f"{where} has no {key!r}; expected a number or a text.")
    try:
        return identity(record[key])
    except (ValueError, OverflowError):
        raise InputError(f"{where} has the {key!r} {str(record[key])[:40]!a}; expected a number or a text.") from None
