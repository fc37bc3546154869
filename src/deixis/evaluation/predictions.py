"""Predictions of any system: a file of JSON lines, streamed and compared with the targets of a split.

A line is `{"id": sentence id, "rle": {...}, "score": 0.9}`, or has `image`, `object`, `sentence` instead of `id`;
`score` is optional. A system with several masks for an expression writes one line for each, one after the other.
"""

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from .. import masks
from ..errors import DeixisError, InputError
from ..masks import RLE
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored, score_expression
from ..records import Reader


@dataclass(frozen=True, slots=True)
class PredictedMask:
    """One line of a predictions file."""

    line: int
    position: int  # of its expression in the reader
    rle: RLE
    score: float


class Predictions:
    """A predictions file over a reader's split."""

    def __init__(
        self, path: Path, reader: Reader, *, allow_unknown: bool = False, left_out: Collection[str] = ()
    ) -> None:
        """Masks for sentences that the reader lacks raise, or with `allow_unknown` are counted in `num_unknown`.

        Masks for sentences that were `left_out` of the reader are ignored.
        """
        self.path, self.reader, self.allow_unknown, self.left_out = path, reader, allow_unknown, left_out
        self.num_unknown = 0
        self.positions = {ids.sentence: position for position, ids in enumerate(reader.ids)}
        self.seen = bytearray(len(reader.ids))  # one byte an expression: 1 where the file has a mask
        if len(self.positions) != len(reader.ids):
            raise InputError(
                "The sentence ids of the data set are not unique; make them unique, since masks are matched by id."
            )

    def scored(self, rules: ScoringProtocol) -> Iterator[Scored]:
        """Each expression that has a mask, in the file's order; `missing` is complete afterwards."""
        for position, group in groupby(self._lines(), key=lambda one: one.position):
            answers = list(group)
            if self.seen[position]:
                raise self._error(answers[0].line, "its expression has a mask further up; keep its lines together")
            if len(answers) > 1 and not rules.average_precision:
                raise self._error(
                    answers[1].line, f"a second mask for one expression, which protocol {rules.name!r} does not allow"
                )
            self.seen[position] = 1
            yield self._score(position, answers, rules)

    @property
    def missing(self) -> list[str]:
        """The ids of the sentences without a mask in the lines read so far."""
        return [ids.sentence for ids, seen in zip(self.reader.ids, self.seen, strict=True) if not seen]

    def scored_missing(self, rules: ScoringProtocol) -> Iterator[Scored]:
        """The expressions without a mask, scored as empty masks."""
        for position, seen in enumerate(self.seen):
            if not seen:
                yield score_expression(self.reader[position], [], rules)

    def _score(self, position: int, answers: list[PredictedMask], rules: ScoringProtocol) -> Scored:
        sample = self.reader[position]
        try:
            return score_expression(sample, [(one.rle, one.score) for one in answers], rules)
        except DeixisError as error:
            raise InputError(f"{self.path}, line {answers[0].line}: {error}") from None

    def _lines(self) -> Iterator[PredictedMask]:
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise InputError(f"The predictions {self.path} cannot be read: {error.strerror}.") from None
        with file:
            for number, line in enumerate(file, start=1):
                if line.strip() and (parsed := self._parse(number, line)) is not None:
                    yield parsed

    def _parse(self, number: int, line: bytes) -> PredictedMask | None:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._error(number, f"not JSON ({error})") from None
        if not isinstance(fields, dict):
            raise self._error(number, "not a JSON object; expected {'id', 'rle', 'score'}")
        rle = fields.get("rle")
        if not isinstance(rle, dict) or not _is_size(rle.get("size")) or not isinstance(rle.get("counts"), str):
            raise self._error(number, "no mask; expected 'rle': {'size': [height, width], 'counts': text}")
        try:
            masks.check_counts(rle["counts"], rle["size"][0] * rle["size"][1])
        except ValueError as error:
            raise self._error(number, str(error).rstrip(".")) from None
        score = fields.get("score", 1.0)
        if not _is_finite(score):
            raise self._error(number, f"'score' is {repr(score)[:40]}; expected a finite number")
        position = self._position(number, fields)
        if position is None:
            return None
        return PredictedMask(number, position, RLE(size=rle["size"], counts=rle["counts"]), float(score))

    def _position(self, number: int, fields: dict[str, Any]) -> int | None:
        sentence = fields.get("id", fields.get("sentence"))
        if sentence is None:
            raise self._error(number, "no 'id'; expected the id of a sentence (or image, object and sentence)")
        position = self.positions.get(str(sentence))
        if position is None and (self.allow_unknown or str(sentence) in self.left_out):
            self.num_unknown += str(sentence) not in self.left_out
            return None
        if position is None:
            raise self._error(number, f"no expression of this split has the id {sentence!r}; check --split")
        ids = self.reader.ids[position]
        for name, known in (("image", ids.image), ("object", ids.object)):
            if name in fields and str(fields[name]) != known:
                raise self._error(number, f"{name} {fields[name]!r}, but sentence {sentence!r} belongs to {known!r}")
        return position

    def _error(self, number: int, what: str) -> InputError:
        return InputError(f"{self.path}, line {number}: {what}.")


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)


def _is_finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    except OverflowError:  # a whole number beyond any float
        return False
