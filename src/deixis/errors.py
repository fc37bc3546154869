"""The exceptions that users see, and the hint for a mistyped name."""

from collections.abc import Iterable
from difflib import get_close_matches


class DeixisError(Exception):
    """One sentence for the user: what was found, what was expected, what to do. Exit code 2, no traceback."""


class InputError(DeixisError, ValueError):
    """The caller's fault: a file, an option or an argument that cannot be used."""


class ModelError(DeixisError, RuntimeError):
    """The model's or the machine's fault: broken weights, numbers that are not finite, a missing compiler."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing sentence: the nearest known name if one is near, otherwise the whole list."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose one of: {', '.join(known)}."
