"""`deixis segment` on a clip: masks of each frame, an overlay video, and when each sentence was found."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import ProgressBar
from .clip_answers import FOUND, ClipAnswers, Sightings
from .segment_answers import answer_name

if TYPE_CHECKING:
    from ..data.clips import Clip
    from ..predict.prediction import Prediction
    from ..predict.segmenter import Segmenter
    from .segment import SegmentOptions

FALLBACK_RATE = 25.0  # of the overlay, where frames have no times
STRIP_FRAMES = 6
EVERY_LIVE, EVERY_LOGGED = 0.5, 10.0  # seconds between two reports of the speed


@dataclass(frozen=True)
class ClipJob:
    """One clip and its sentences; `settings` are the model's, and `folder` is None where nothing is written."""

    segmenter: "Segmenter"
    options: "SegmentOptions"
    name: str
    sentences: Sequence[str]
    folder: Path | None
    settings: Mapping[str, Any]
    note: Callable[["Prediction"], None]

    def run(self) -> None:
        """Answer the frames that are missing, then write what is made of all of them."""
        from ..data.clips import open_clip

        clip = open_clip(self.name, self.options.rate)
        if self.folder is None:
            for prediction in self._asked(clip, 0):
                print(self._line(prediction), flush=True)
            return
        _ = clip.size  # raises where there is not one frame, before a folder of answers exists
        answers = ClipAnswers(self._place(self.folder), self.sentences, _stamp(clip), self._all_settings())
        done = answers.begin(overwrite=self.options.overwrite)
        if not answers.is_complete:
            self._answer(clip, answers, done)
        self._finish(clip, answers)

    def _place(self, folder: Path) -> Path:
        path = Path(os.path.abspath(self.name))
        return folder / answer_name(str(path), path.stem, "\n".join(self.sentences))

    def _all_settings(self) -> dict[str, Any]:
        return {**self.settings, **self.options.of_clips}

    def _answer(self, clip: "Clip", answers: ClipAnswers, done: int) -> None:
        """Append the records of the frames from `done` on; those of a frame are complete before the next one starts."""
        from ..predict.prediction import write_picture

        if done:
            print(f"deixis: {done:,} frames are in {answers.folder} already; the next ones follow", file=sys.stderr)
        with _Speed(self.name, self._expected(clip), done) as speed, answers.records.open("ab") as file:
            for position, prediction in enumerate(self._asked(clip, done)):
                number = position % len(self.sentences)
                if self.options.masks == "png":
                    write_picture(answers.mask(prediction.frame or 0, number), _picture(prediction))
                line = self._line(prediction)
                file.write(line.encode(errors="replace") + b"\n")
                if self.options.json:
                    print(line, flush=True)
                if number == len(self.sentences) - 1:
                    file.flush()
                    speed.advance()

    def _expected(self, clip: "Clip") -> int:
        return self.options.choice.expected(clip) or clip.num_frames

    def _asked(self, clip: "Clip", skip: int) -> "Iterator[Prediction]":
        from ..predict.encoded import Question
        from ..predict.video import Smoother, ask_clip

        asked = Question.of(
            self.segmenter,
            list(self.sentences),
            threshold=self.options.threshold,
            presence_threshold=self.options.presence_threshold,
        )
        smoother = Smoother(self.options.smooth)
        for prediction in ask_clip(self.segmenter, clip, asked, self.options.choice, smoother, skip=skip):
            self.note(prediction)
            yield prediction

    def _line(self, prediction: "Prediction") -> str:
        return json.dumps({"clip": self.name, **prediction.to_json()})

    def _finish(self, clip: "Clip", answers: ClipAnswers) -> None:
        """The overlay, the strips and the JSON, each where it is missing; prints a line for each sentence."""
        from ..viz.strips import clip_colours

        sightings, notes, count = [Sightings(sentence) for sentence in self.sentences], set(), 0
        for records in answers.frames():
            count += 1
            for sighting, record in zip(sightings, records, strict=True):
                sighting.add(record)
                notes.update(record["notes"])
        colours = clip_colours(len(self.sentences))
        if not answers.overlay.is_file():
            _write_overlay(clip, answers, colours, self.options.codec)
        files = {"overlay": answers.overlay, "masks": answers.records}
        if self.options.explain:
            strips = [answers.evidence(number) for number in range(len(self.sentences))]
            if not all(strip.is_file() for strip in strips):
                self._write_strips(clip, answers, count, colours)
            files |= {f"evidence {number}": strip for number, strip in enumerate(strips, start=1)}
        answers.write(
            FOUND,
            {
                "clip": self.name,
                "model": self.segmenter.name,
                "frames": count,
                "expressions": [
                    {**each.to_json(), "colour": list(colour)} for each, colour in zip(sightings, colours, strict=True)
                ],
                "notes": sorted(notes),
                "files": {name: str(file) for name, file in files.items()},
            },
        )
        if not self.options.json:
            for each in sightings:
                print(f"{self.name}  {each.expression!r}  {each.line}  -> {answers.folder}", flush=True)

    def _write_strips(
        self, clip: "Clip", answers: ClipAnswers, count: int, colours: Sequence[tuple[int, int, int]]
    ) -> None:
        """Ask a few frames again with evidence; the masks that are drawn are those of the records."""
        from .. import masks
        from ..predict.encoded import Question
        from ..predict.prediction import write_picture
        from ..predict.video import FrameChoice, Smoother, ask_clip
        from ..viz.strips import StripFrame, evidence_strip

        picked = {round(place * (count - 1) / max(1, STRIP_FRAMES - 1)) for place in range(STRIP_FRAMES)}
        records = {each[0]["frame"]: each for position, each in enumerate(answers.frames()) if position in picked}
        asked = Question.of(self.segmenter, list(self.sentences), explain=True)
        rows: list[list[StripFrame]] = [[] for _ in self.sentences]
        choice = FrameChoice(indices=frozenset(records))
        for position, each in enumerate(ask_clip(self.segmenter, clip, asked, choice, Smoother(None))):
            number, frame = position % len(rows), each.frame or 0
            frame_of_strip = StripFrame(
                caption=f"frame {frame}" if each.time is None else f"{each.time:.2f} s",
                image=each.image,
                mask=masks.decode(records[frame][number]["rle"]),
                probability=each.probability,
                tokens=each.tokens,
                evidence=each.evidence,
            )
            rows[number].append(frame_of_strip.small())
        for number, (sentence, frames) in enumerate(zip(self.sentences, rows, strict=True)):
            write_picture(answers.evidence(number), evidence_strip(sentence, frames, colours[number]))


def _write_overlay(clip: "Clip", answers: ClipAnswers, colours: Sequence[tuple[int, int, int]], codec: Any) -> None:
    """Decode the clip again and paint the recorded masks; the first frame that was asked is at 0 s."""
    from .. import masks
    from ..data.video_writer import video_writer
    from ..viz.strips import Painted, painted_frame

    records, first = answers.frames(), None
    with video_writer(answers.overlay, codec) as video, clip.frames() as frames:
        several = next(records, None)
        for frame in frames:
            if several is None:
                break
            if frame.index != several[0]["frame"]:
                continue
            painted = [
                Painted(mask=masks.decode(record["rle"]), colour=colour, label=_label(record))
                for record, colour in zip(several, colours, strict=True)
            ]
            seconds = frame.index / FALLBACK_RATE if frame.time is None else frame.time
            first = seconds if first is None else first
            video.add(painted_frame(frame.pixels, painted), seconds - first)
            several = next(records, None)


def _label(record: Mapping[str, Any]) -> str:
    return f"{record['expression']}  {record['score']:.2f}" if record["found"] else str(record["expression"])


def _picture(prediction: "Prediction") -> Any:
    from PIL import Image

    return Image.fromarray(prediction.mask.astype("uint8") * 255)


def _stamp(clip: "Clip") -> list[int]:
    """Number, bytes and last change of the clip's files."""
    path = Path(clip.path)
    files = [path] if path.is_file() else [path / name for name in getattr(clip, "names", ())]
    facts = [file.stat() for file in files]
    return [len(facts), sum(each.st_size for each in facts), max((each.st_mtime_ns for each in facts), default=0)]


class _Speed:
    """A bar with frames a second and the time left."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self._bar = ProgressBar(Path(name).name, max(total, done), done=done)
        self._start = done
        self._every = EVERY_LIVE if self._bar.is_live else EVERY_LOGGED
        self._began = self._reported = time.monotonic()
        self._count = done

    def __enter__(self) -> "_Speed":
        self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def advance(self) -> None:
        self._count += 1
        self._bar.advance()
        now = time.monotonic()
        if now - self._reported >= self._every:
            self._reported = now
            self._bar.report({"frames/s": (self._count - self._start) / (now - self._began)})
