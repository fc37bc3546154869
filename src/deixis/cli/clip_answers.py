"""The files of `deixis segment` about one clip, and how far an interrupted run had come.

`run.json` says how the answers are computed, `masks.jsonl` gets a line for each frame and sentence, and `found.json`
is written last, so it marks a complete run.
"""

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError

RECORDS, RUN, FOUND, OVERLAY = "masks.jsonl", "run.json", "found.json", "overlay.mp4"


@dataclass(frozen=True)
class ClipAnswers:
    """The folder of the answers about one clip; `settings` are those of this command."""

    folder: Path
    expressions: Sequence[str]
    stamp: Sequence[int]  # by which a changed clip is recognised
    settings: Mapping[str, Any]

    @property
    def overlay(self) -> Path:
        return self.folder / OVERLAY

    @property
    def records(self) -> Path:
        return self.folder / RECORDS

    def mask(self, frame: int, number: int) -> Path:
        """The picture of a mask; expressions are numbered from 1, as in `found.json`."""
        return self.folder / "masks" / f"{frame:06d}-{number + 1}.png"

    def evidence(self, number: int) -> Path:
        from ..predict.prediction import slug

        return self.folder / f"evidence-{number + 1}-{slug(self.expressions[number])}.png"

    @property
    def is_complete(self) -> bool:
        return (self.folder / FOUND).is_file() and self.overlay.is_file()

    def begin(self, *, overwrite: bool) -> int:
        """Prepare the folder; returns how many frames it has answers for.

        A half-written line, and a frame without the answers to all expressions, are cut off. Raises `InputError` where
        other settings have computed the answers.
        """
        now = {
            "expressions": list(self.expressions),
            "clip": list(self.stamp),
            "settings": {**self.settings},
        }
        before = None if overwrite else _read(self.folder / RUN)
        if before == now:
            return self._cut()
        if before is not None and before.get("clip") == now["clip"] and self._cut():
            old = before.get("settings", {})
            differing = [key for key in {**self.settings, **old} if old.get(key) != self.settings.get(key)]
            raise InputError(
                f"{self.folder} was computed with another {' and '.join(differing)}; give another --out, or "
                "--overwrite to replace it."
            )
        for old_file in (FOUND, OVERLAY, RECORDS):
            (self.folder / old_file).unlink(missing_ok=True)
        for old_picture in (*self.folder.glob("masks/*-*.png"), *self.folder.glob("evidence-*.png")):
            old_picture.unlink()
        self.write(RUN, now)
        return 0

    def _cut(self) -> int:
        """Cut the records after the last whole frame; returns the number of whole frames."""
        if not self.records.is_file():
            return 0
        whole, size, frames = 0, 0, 0
        with self.records.open("rb") as file:
            for number, line in enumerate(file, start=1):
                size += len(line)
                if not line.endswith(b"\n"):
                    break
                if number % len(self.expressions) == 0:
                    whole, frames = size, number // len(self.expressions)
        if whole != self.records.stat().st_size:
            os.truncate(self.records, whole)
        return frames

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        from ..predict.prediction import write

        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        write(self.folder / name, text.encode(errors="replace"))

    def frames(self) -> Iterator[list[dict[str, Any]]]:
        """The records of each frame, one for each expression, in order; one frame in memory at a time."""
        with self.records.open(encoding="utf-8") as file:
            lines = enumerate(file, start=1)
            while several := list(itertools.islice(lines, len(self.expressions))):
                yield [self._record(number, line) for number, line in several]

    def _record(self, number: int, line: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(line)
        except ValueError:
            raise InputError(
                f"{self.records}, line {number}, is not JSON; use --overwrite to compute the clip again."
            ) from None
        return record


@dataclass
class Sightings:
    """When one expression was found: the longest runs of frames, of those that were asked, in which it was."""

    expression: str
    intervals: list[dict[str, Any]] = field(default_factory=list)
    num_frames: int = 0
    best: dict[str, Any] | None = None
    _is_open: bool = False

    def add(self, record: Mapping[str, Any]) -> None:
        """The record of the next frame."""
        if not record["found"]:
            self._is_open = False
            return
        self.num_frames += 1
        place = {"frame": record["frame"], "time": record["time"]}
        if not self._is_open:
            self.intervals.append({"start": place, "end": place, "frames": 0, "score": 0.0})
            self._is_open = True
        last = self.intervals[-1]
        last["score"] = (last["score"] * last["frames"] + record["score"]) / (last["frames"] + 1)
        last.update(end=place, frames=last["frames"] + 1)
        if self.best is None or record["score"] > self.best["score"]:
            self.best = {**place, "score": record["score"]}

    def to_json(self) -> dict[str, Any]:
        intervals = [{**each, "score": round(each["score"], 4)} for each in self.intervals]
        return {
            "expression": self.expression,
            "found_in_frames": self.num_frames,
            "best": self.best,
            "intervals": intervals,
        }

    @property
    def line(self) -> str:
        """For people: how often, and the first intervals."""
        if not self.intervals:
            return "nothing found"
        several = [_span(each) for each in self.intervals[:3]]
        more = ", …" if len(self.intervals) > 3 else ""
        frames = f"{self.num_frames:,} {'frame' if self.num_frames == 1 else 'frames'}"
        return f"found in {frames}: {', '.join(several)}{more}"


def _span(interval: Mapping[str, Any]) -> str:
    start, end = interval["start"], interval["end"]
    if start["time"] is None:
        return f"frames {start['frame']}-{end['frame']}"
    return f"{start['time']:.2f}-{end['time']:.2f} s"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
