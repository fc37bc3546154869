"""`deixis segment`: photos or clips and sentences in, masks out."""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import DeixisError, InputError
from .clip_options import ClipOptions
from .options import parse
from .segment_answers import DEFAULT, Answers, answer_name, printed
from .segment_inputs import Photo, find_photos, read_texts, split_arguments, split_clips

if TYPE_CHECKING:
    import numpy as np

    from ..predict.prediction import Prediction
    from ..predict.segmenter import Segmenter

EPILOGUE = """
An argument that names an existing file or folder, or is written as a path or an image's name (.jpg, .png, .webp …), is
an image; a folder stands for the images in it, and - for an image on standard input. Every other argument is a
sentence, if it can be nothing else; --image and --text leave no doubt. Every sentence is segmented in every image.
The name of an answer depends on the image's path and the sentence only; a second run computes what is missing.

A video (.mp4, .mov, .webm …), or with --clip a folder of frames, is a clip. Its answers are in a folder: overlay.mp4,
masks.jsonl with a line for each frame and sentence, and found.json, which says when each sentence was found. A run that
was interrupted continues at the next frame.

  deixis segment photo.jpg "the red cup"
  deixis segment holiday/ --text "the dog" --text "the man on the left" --out masks
  deixis segment holiday/ --recursive --texts sentences.txt --json > masks.jsonl
  deixis segment clip.mp4 "the dog in front" "the ball" --fps 5 --start 10 --end 20
  curl -s ADDRESS | deixis segment - "the red cup" --json | jq .score"""


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(ClipOptions):
    """Segment what sentences refer to in photos or clips; write overlays and masks."""

    arguments: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE|SENTENCE")] = ()
    """Images, folders of images, clips, sentences."""
    image: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="PATH")] = ()
    """An image or a clip, whatever its name is otherwise read as."""
    text: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SENTENCE")] = ()
    """A sentence, even if a file has that name."""
    texts: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A text file with one sentence a line."""
    recursive: bool = False
    """Enter the folders in folders."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "auto"
    """A model's name, or the folder of a checkpoint or of a run; auto is the bundled model for this kind of image."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where answers are written; by default in deixis-out, and with --json nowhere."""
    overwrite: bool = False
    """Compute the answers again that the folder has already."""
    json: bool = False
    """Print one JSON object a line for each image and sentence, as `evaluate --predictions` reads them."""
    explain: bool = False
    """Draw the evidence too: which words, which pixels."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """Replaces the threshold of the model's mask rule, which usually is a probability of 0.5."""
    presence_threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """The presence probability below which the mask is empty, for models with a presence head."""

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("presence threshold", self.presence_threshold)):
            if value is not None and not 0 < value < 1:
                raise InputError(f"The {name} is {value}; expected a number between 0 and 1.")
        if self.out is not None and self.out.is_file():
            raise InputError(f"{self.out} is a file; give --out a folder.")


def main(arguments: list[str]) -> int:
    """Exit code 0 when all is done, 1 when some of several images or their predictions failed, 2 when all did."""
    options = parse(SegmentOptions, arguments, "deixis segment", EPILOGUE)
    texts = [*options.text, *(read_texts(options.texts) if options.texts is not None else [])]
    names, sentences = split_arguments(options.arguments, options.image, texts)
    sentences = list(dict.fromkeys(sentences))
    clips, names = split_clips(names, folders_too=options.clip)
    if clips:
        _ = options.choice  # what cannot be is refused before the model is loaded
    else:
        options.check_photos()
    photos = find_photos(names, recursive=options.recursive) if names else []
    folder = _folder(options, photos, clips)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # messages of libraries do not help a user
    warnings.filterwarnings("ignore")
    segmenter = options.load(options.model)
    settings = _settings(segmenter, options)
    job = _Job(segmenter, options, None if folder is None else Answers(folder, settings))
    answer_clip = partial(_answer_clip, job, sentences, folder, settings)
    answer_photo = partial(_answer_photo, job, sentences)
    total, failed = len(photos) + len(clips), 0
    steps = [*(partial(answer_photo, photo) for photo in photos), *(partial(answer_clip, clip) for clip in clips)]
    for step in steps:
        try:
            failed += not step()
        except DeixisError as error:
            if total == 1:
                raise
            print(f"deixis: {error}", file=sys.stderr)
            failed += 1
    if job.num_kept:
        wanted = len(photos) * len(sentences)
        print(
            f"deixis: {job.num_kept:,} of {wanted:,} answers are in {folder} already; --overwrite computes them again",
            file=sys.stderr,
        )
    return (1 if failed < total else 2) if failed else 0


def _answer_photo(job: "_Job", sentences: list[str], photo: Photo) -> bool:
    kept = job.kept(photo, sentences)
    job.num_kept += len(kept)
    return job.segment(photo, sentences, kept)


def _answer_clip(job: "_Job", sentences: list[str], folder: Path | None, settings: dict[str, Any], clip: str) -> bool:
    from .segment_clip import ClipJob

    ClipJob(job.segmenter, job.options, clip, sentences, folder, settings, job.print_notes).run()
    return True


class _Job:
    """One command: a loaded model and the folder of its answers, None where nothing is written."""

    def __init__(self, segmenter: "Segmenter", options: SegmentOptions, answers: Answers | None) -> None:
        self.segmenter, self.options, self.answers = segmenter, options, answers
        self.notes: set[str] = set()  # each of which is printed once
        self.num_kept = 0

    def kept(self, photo: Photo, sentences: list[str]) -> dict[str, dict[str, Any]]:
        """The records of the sentences that the folder has answers for."""
        if self.answers is None or self.options.overwrite:
            return {}
        names = {sentence: answer_name(photo.identity, photo.stem, sentence) for sentence in sentences}
        records = {
            sentence: self.answers.kept(name, photo.stamp, explain=self.options.explain)
            for sentence, name in names.items()
        }
        return {sentence: record for sentence, record in records.items() if record is not None}

    def segment(self, photo: Photo, sentences: list[str], kept: dict[str, dict[str, Any]]) -> bool:
        """Answer the sentences that are not kept, in order; returns whether all could be written."""
        from ..data.images import open_image

        missing = [sentence for sentence in sentences if sentence not in kept]
        predictions = self._predictions(open_image(photo.source), missing) if missing else iter(())
        stamp, is_done = photo.stamp, True
        for sentence in sentences:
            if sentence in kept:
                print(self._line(printed(kept[sentence])), flush=True)
                continue
            prediction = next(predictions)
            self.print_notes(prediction)
            try:
                line = self._write(photo, prediction, stamp)
            except DeixisError as error:
                print(f"deixis: {error}", file=sys.stderr)
                is_done = False
                continue
            print(line, flush=True)
        return is_done

    def _predictions(self, picture: "np.ndarray", sentences: list[str]) -> "Iterator[Prediction]":
        return self.segmenter.stream(
            picture,
            sentences,
            threshold=self.options.threshold,
            presence_threshold=self.options.presence_threshold,
            explain=self.options.explain,
        )

    def print_notes(self, prediction: "Prediction") -> None:
        for note in prediction.notes:
            if note not in self.notes:
                print(f"deixis: {note}", file=sys.stderr)
                self.notes.add(note)

    def _write(self, photo: Photo, prediction: "Prediction", stamp: list[int]) -> str:
        """Write the answer's files, and return the line that is printed."""
        name = answer_name(photo.identity, photo.stem, prediction.expression)
        files = {} if self.answers is None else self.answers.files(name, explain=self.options.explain)
        record = {
            "image": photo.name,
            **prediction.to_json(),
            "files": {kind: str(file) for kind, file in files.items()},
        }
        if self.answers is not None:
            prediction.save_pictures(files["overlay"], files["mask"])
            if self.options.explain:
                _draw_evidence(prediction, files["evidence"])
            self.answers.write(name, record, stamp)
        return self._line(record)

    def _line(self, record: dict[str, Any]) -> str:
        return json.dumps(record) if self.options.json else _as_line(record)


def _folder(options: SegmentOptions, photos: list[Photo], clips: list[str]) -> Path | None:
    """Where answers are written; raises `InputError` where photos are read from there."""
    if options.json and options.out is None and not options.explain:
        return None
    folder = options.out or DEFAULT
    read_from = {os.path.realpath(Path(photo.name).parent) for photo in photos if photo.content is None}
    if os.path.realpath(folder) in {os.path.realpath(clip) for clip in clips}:
        raise InputError(f"The folder {folder} is a clip that is read; give another --out, into which answers go.")
    if os.path.realpath(folder) in read_from:
        raise InputError(f"The folder {folder} has photos that are read; give another --out, into which answers go.")
    return folder


def _settings(segmenter: "Segmenter", options: SegmentOptions) -> dict[str, Any]:
    """What an answer depends on beside the photo and the expression."""
    weights = None if segmenter.weights is None else segmenter.weights.stat()
    refined = {"refinement": segmenter.computed["refine"]} if segmenter.refine is not None else {}
    changed = {"settings": segmenter.settings} if segmenter.settings else {}
    return (
        refined
        | changed
        | {
            "model": segmenter.name,
            "weights": None if weights is None else [weights.st_size, weights.st_mtime_ns],
            "threshold": options.threshold,
            "presence threshold": options.presence_threshold,
        }
    )


def _draw_evidence(prediction: "Prediction", file: Path) -> None:
    from ..predict.prediction import write_picture
    from ..viz import explanation

    picture = explanation(
        prediction.image,
        prediction.mask,
        prediction.probability,
        prediction.expression,
        prediction.tokens,
        prediction.evidence,
    )
    write_picture(file, picture)


def _as_line(record: dict[str, Any]) -> str:
    found = f"nothing found (score {record['score']:.2f})" if record["score"] else "nothing found"
    if record["box"] is not None:
        left, top, width, height = record["box"]
        found = f"score {record['score']:.2f}  box {left},{top} {width}x{height}"
    return f"{record['image']}  {record['expression']!r}  {found}  -> {', '.join(record['files'].values())}"
