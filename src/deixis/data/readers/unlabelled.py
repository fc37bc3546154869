"""The samples of a reader without their masks, which are then neither decoded nor checked."""

import copy
from typing import Any

from ...records import Reader
from ..subsets import Subset


def without_masks(reader: Reader) -> Reader:
    """The same samples with None as their masks; readers that cannot omit masks, such as your own, are returned.

    A reader omits them if it has an attribute `reads_masks` and heeds it.
    """
    if isinstance(reader, Subset):
        return Subset(without_masks(reader.reader), reader.positions)
    if not hasattr(reader, "reads_masks"):
        return reader
    other: Any = copy.copy(reader)
    other.reads_masks = False
    return other
