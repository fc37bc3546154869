"""The sentences of a record, under any of the names that tools and people give them."""

from collections.abc import Mapping
from typing import Any

from ...errors import InputError
from .json_files import check_text

TEXT_KEYS = (
    *("captions", "caption", "expressions", "expression", "sentences", "sentence"),
    *("texts", "text", "descriptions", "description"),
)


def sentences_of(record: Mapping[str, Any], where: str, text_key: str | None = None) -> list[str]:
    """The texts under the first key that has any, of the record or of its `attributes`; none where there are none.

    Raises InputError where something other than a text, or a list of texts, is there, or an empty text.
    """
    attributes = record.get("attributes")
    places = (record, attributes) if isinstance(attributes, Mapping) else (record,)
    keys = TEXT_KEYS if text_key is None else (text_key,)
    found = next(((key, place[key]) for place in places for key in keys if place.get(key)), None)
    if found is None:
        return []
    key, value = found
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where} needs texts as captions, but {key!r} holds {str(value)[:40]!a}.")
    check_text(texts, where)
    if not all(text.strip() for text in texts):
        raise InputError(f"{where} has an empty {key!r}; expected a text.")
    return texts


def expected_keys(text_key: str | None) -> str:
    """What a record without sentences lacks, for errors."""
    return repr(text_key) if text_key else "'caption', 'captions', 'expression', 'text' or 'description'"
