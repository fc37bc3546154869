"""The mask that a record of any format has: run lengths, polygons or the name of an image file."""

from collections.abc import Mapping
from typing import Any

from ... import masks
from ...errors import InputError
from ..segmentation import WrongSizeError, as_rle, says_nothing
from ..validation import Issues
from .mask_images import ReadMask, read_mask_image
from .named_images import NamedImage

NO_MASK = ReadMask(None)
CUT = "mask_was_cut"  # a trait: the mask's blurred edges were cut at half of the largest value


def mask_of(record: Mapping[str, Any], key: str, visual: NamedImage, where: str, issues: Issues | None) -> ReadMask:
    """The mask under the key, of the photo's size; `rle` is None where the record has none.

    Raises InputError with `where` in it if it cannot be read for certain.
    """
    value, label = record.get(key), record.get("label")
    if says_nothing(value, record):
        return NO_MASK
    try:
        if isinstance(value, str):
            path = visual.folders.find(value, where)
            return read_mask_image(path, visual.size, where, label, visual.ignore_exif)
        return ReadMask(as_rle(value, *visual.size, where, issues=issues))
    except WrongSizeError as error:
        raise InputError(f"{error}{visual.exif_hint(visual.size, error.found)}") from error


def facts_of(mask: ReadMask) -> dict[str, Any]:
    """What a sample's traits say of its mask."""
    if mask.rle is None:
        return {}
    return {"area": masks.area(mask.rle), **({CUT: True} if mask.cut else {})}
