"""The expressions that one of two results has right and the other one wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored

RIGHT = 0.5  # the IoU from which on a mask is right


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """An expression's id, and the IoUs of the two masks for it."""

    sentence: str
    first: float
    second: float


def disagreements(first: Iterable[Scored], second: Iterable[Scored], rules: ScoringProtocol) -> list[Disagreement]:
    """Those that the first result has right and the second one wrong, the largest difference first."""
    others = {one.ids.sentence: one.iou(rules) for one in second}
    found = [
        Disagreement(sentence=one.ids.sentence, first=own, second=other)
        for one in first
        if (own := one.iou(rules)) >= RIGHT > (other := others[one.ids.sentence])
    ]
    return sorted(found, key=lambda one: (one.second - one.first, one.sentence))
