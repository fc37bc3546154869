"""The one exception a user may see, and the sentence that helps with a mistyped name."""

from collections.abc import Iterable
from difflib import get_close_matches


class DeixisError(ValueError):
    """What came, what was wanted, what to do: one sentence, shown without a traceback, exit code 2."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing sentence: the nearest known name where one is near, else the whole list."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose one of: {', '.join(known)}."
