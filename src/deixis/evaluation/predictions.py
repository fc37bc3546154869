"""Predictions of any system: a file of JSON lines, streamed and compared with the targets of a split.

A line is `{"id": sentence id, "rle": {...}, "score": 0.9}`, or has `image`, `object`, `sentence` instead of `id`;
`score` is optional. In the lines of `deixis segment --json`, `image` is the photo's path and `expression` the sentence.
A system with several masks for an expression writes one line for each, one after the other.
One JSON list of COCO's results is read, too: `segmentation` for `rle`, and `image_id` where an image has one sentence.
"""

import codecs
import io
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from ..data.readers.json_files import parse
from ..data.readers.text_files import read_text_file
from ..data.segmentation import run_lengths
from ..errors import DeixisError, InputError
from ..masks import RLE
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored, score_expression
from ..records import Reader
from .photo_index import PhotoIndex


@dataclass(frozen=True, slots=True)
class PredictedMask:
    """One line of a predictions file, or one result of a list."""

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
        self._unit = "line"
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
            raise self._error(answers[0].line, str(error).rstrip(".")) from None

    def _lines(self) -> Iterator[PredictedMask]:
        try:
            is_list = _first_byte(self.path) == b"["
            self._unit = "result" if is_list else "line"
            numbered = _json_list(self.path) if is_list else self._json_lines()
            for number, fields in numbered:
                yield from self._parse(number, fields)
        except OSError as error:
            raise InputError(f"The predictions {self.path} cannot be read: {error.strerror}.") from None

    def _json_lines(self) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(_text_lines(self.path), start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self._error(number, f"not JSON ({error})") from None

    def _parse(self, number: int, fields: Any) -> Iterator[PredictedMask]:
        if not isinstance(fields, dict):
            raise self._error(number, "not a JSON object; expected {'id', 'rle', 'score'}")
        rle = fields.get("rle", fields.get("segmentation"))
        if not isinstance(rle, dict) or not _is_size(rle.get("size")) or not isinstance(rle.get("counts"), str | list):
            raise self._error(number, "no mask; expected 'rle': {'size': [height, width], 'counts': run lengths}")
        try:
            mask = run_lengths(rle)
        except ValueError as error:
            raise self._error(number, str(error).rstrip(".")) from None
        score = fields.get("score", 1.0)
        if not _is_finite(score):
            raise self._error(number, f"'score' is {repr(score)[:40]}; expected a finite number")
        for position in self._positions(number, fields):
            yield PredictedMask(number, position, mask, float(score))

    def _positions(self, number: int, fields: dict[str, Any]) -> Sequence[int]:
        """The expressions that the mask is for: one by its id; by its photo and expression all that agree in both."""
        if not {"id", "sentence", "image_id"} & fields.keys() and {"image", "expression"} <= fields.keys():
            try:
                return self._photos.positions(str(fields["image"]), str(fields["expression"]))
            except InputError as error:
                raise self._error(number, str(error).rstrip(".")) from None
        position = self._position(number, fields)
        return [] if position is None else [position]

    @cached_property
    def _photos(self) -> PhotoIndex:
        return PhotoIndex(self.reader)

    def _position(self, number: int, fields: dict[str, Any]) -> int | None:
        sentence = fields.get("id", fields.get("sentence"))
        if sentence is None and "image_id" in fields:
            sentence = self._only_sentence(number, str(fields["image_id"]))
        if sentence is None:
            raise self._error(number, "no 'id'; expected the id of a sentence (or image and expression)")
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

    def _only_sentence(self, number: int, image: str) -> str:
        """The sentence of an image that has one, as COCO's results name images only."""
        sentences = self._sentences_of.get(image, [])
        if len(sentences) != 1:
            raise self._error(
                number,
                f"no 'id', and image_id {image!r} has {len(sentences)} sentences in this split; add the 'id' of the "
                "sentence to each result",
            )
        return sentences[0]

    @cached_property
    def _sentences_of(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for ids in self.reader.ids:
            found.setdefault(ids.image, []).append(ids.sentence)
        return found

    def _error(self, number: int, what: str) -> InputError:
        return InputError(f"{self.path}, {self._unit} {number}: {what}.")


def _first_byte(path: Path) -> bytes:
    """The first byte that is not space; nothing where the file has another encoding than UTF-8."""
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _text_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(4)
        if json.detect_encoding(start).startswith("utf-8"):
            file.seek(3 if start.startswith(codecs.BOM_UTF8) else 0)
            yield from file
            return
    yield from io.BytesIO(read_text_file(path).data)


def _json_list(path: Path) -> Iterator[tuple[int, Any]]:
    """The results of a JSON list, as COCO's tools write them, numbered from 1."""
    return enumerate(parse(path.read_bytes(), path), start=1)


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)


def _is_finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    except OverflowError:  # a whole number beyond any float
        return False
