"""The groups that an expression belongs to in each breakdown of a score."""

import re
from collections.abc import Mapping
from typing import Any

SMALL, MEDIUM = 32 * 32, 96 * 96  # COCO's bounds on a target's area in pixels of the original image
LENGTHS = ((2, "1-2"), (3, "3"), (5, "4-5"), (10, "6-10"))  # words of an expression, upper bound and name
SAME_CATEGORY_COUNTS = ((1, "1"), (2, "2"), (4, "3-4"))  # objects of the target's category in the image
PERSON = "person"  # COCO's category
KINDS = re.compile(r"[a-z-]+(\+[a-z-]+)*")  # of sentences that `deixis data describe` wrote: noun, extreme+colour …
SAME_CATEGORY = ("same_category_count", "same_kind")  # traits that count an image's objects of the target's category

LOCATION = re.compile(
    r"\b(left|right|top|bottom|middle|cent(er|re)|upper|lower|corner|front|back|far|(left|right)most|first|second|third"
    r"|fourth|last|(fore|back)ground|side|edge|end)\b"
)
RELATION = re.compile(
    r"\b(next|near(est|er)?|close(st|r)?|beside|by|behind|above|below|under(neath)?|beneath|over|between|among|against"
    r"|around|inside|outside|opposite|facing|on|onto|with|without|holding|wearing|riding|touching|than)\b"
)
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
GROUP_ORDER = ("none", "small", "medium", "large", "1", "1-2", "2", "3", "3-4", "4-5", "5+", "6-10", "11+")


def groups_of(expression: str, target_area: int, traits: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Axis -> group. The axis of same-category objects exists where the reader counted them."""
    lowered = expression.lower()
    groups = {
        "target size": _size(target_area),
        "expression length": _named(len(WORD.findall(lowered)), LENGTHS, "11+"),
        "location words": "with" if LOCATION.search(lowered) else "without",
        "relation words": "with" if RELATION.search(lowered) else "without",
    }
    traits = traits or {}
    count = next((traits[name] for name in SAME_CATEGORY if name in traits), None)
    if isinstance(count, int) and count > 0:
        groups["same-category objects"] = _named(count, SAME_CATEGORY_COUNTS, "5+")
        if "category" in traits:
            is_person = traits["category"] == PERSON
            groups["people"] = "not a person" if not is_person else "one person" if count == 1 else "one of several"
    groups.update((f"asks for {feature}", "with") for feature in traits.get("features", ()))
    if KINDS.fullmatch(kinds := str(traits.get("description", ""))):
        groups.update((f"describes by {kind}", "with") for kind in kinds.split("+"))
    return groups


def in_order(groups: Mapping[str, Any]) -> list[str]:
    """Group names from small to large and from short to long; other names after them, sorted."""
    known = {name: position for position, name in enumerate(GROUP_ORDER)}
    return sorted(groups, key=lambda name: (known.get(name, len(known)), name))


def _size(area: int) -> str:
    if area == 0:
        return "none"
    return "small" if area < SMALL else "medium" if area < MEDIUM else "large"


def _named(count: int, bounds: tuple[tuple[int, str], ...], above: str) -> str:
    return next((name for bound, name in bounds if count <= bound), above)
