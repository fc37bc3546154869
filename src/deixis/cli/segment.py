"""`deixis segment`: photos and sentences in, masks out."""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import DeixisError, InputError
from .model_options import ModelOptions
from .options import parse

if TYPE_CHECKING:
    import numpy as np

    from ..predict.prediction import Prediction

IMAGE_ENDINGS = frozenset(
    (
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".j2k",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)
LONGEST_STEM = 255 - len("--99999-evidence.png")  # bytes for photo and sentence; file systems allow 255
EPILOGUE = """
An argument that names an existing file or folder, or ends like an image (.jpg, .png, .webp …), is an image; a folder
stands for the images in it; every other argument is a sentence. Where that is wrong, use --image or --text. Every
sentence is segmented in every image.

  deixis segment photo.jpg "the red cup"
  deixis segment holiday/ "the dog" "the man on the left" --out masks
  deixis segment photo.jpg "the red cup" --json | jq .score"""


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(ModelOptions):
    """Segment what sentences refer to in photos; write an overlay and a mask for each image and sentence."""

    arguments: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE|SENTENCE")] = ()
    """Images, folders of images, sentences."""
    image: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="PATH")] = ()
    """An image, whatever its name."""
    text: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SENTENCE")] = ()
    """A sentence, even if a file has that name."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "embedded"
    """A model's name, or the folder of a checkpoint or of a run."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where pictures are written; by default here, and with --json nowhere."""
    json: bool = False
    """Print one JSON object a line for each image and sentence."""
    explain: bool = False
    """Draw the evidence too: which words, which pixels."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """Replaces the threshold of the model's mask rule, which usually is a probability of 0.5."""
    presence_threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """The presence probability below which the mask is empty, for models with a presence head (0.5)."""

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("presence threshold", self.presence_threshold)):
            if value is not None and not 0 < value < 1:
                raise InputError(f"The {name} is {value}; expected a number between 0 and 1.")
        if self.out is not None and self.out.is_file():
            raise InputError(f"{self.out} is a file; give --out a folder.")


def main(arguments: list[str]) -> int:
    """Exit code 0 when all is done, 1 when some of several images or their predictions failed, 2 when all did."""
    options = parse(SegmentOptions, arguments, "deixis segment", EPILOGUE)
    images, sentences = _images_and_sentences(options)
    used: set[str] = set()  # names of files in lower case, so that no file overwrites another
    printed: set[str] = set()  # notes, each of which is printed once
    failed: set[int] = set()  # positions of images
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # messages of libraries do not help a user
    warnings.filterwarnings("ignore")
    segmenter = options.load(options.model)
    for position, (path, picture) in enumerate(_pictures(images)):
        if picture is None:
            failed.add(position)
            continue
        predictions = segmenter.stream(
            picture,
            sentences,
            threshold=options.threshold,
            presence_threshold=options.presence_threshold,
            explain=options.explain,
        )
        for prediction in predictions:
            _print_notes(prediction, printed)
            try:
                files = _save(prediction, path, options, used)
            except DeixisError as error:
                print(f"deixis: {error}", file=sys.stderr)
                failed.add(position)
                continue
            line = _as_json(path, prediction, segmenter.name, files) if options.json else None
            print(line or _as_line(path, prediction, files), flush=True)
    return (1 if len(failed) < len(images) else 2) if failed else 0


def _images_and_sentences(options: SegmentOptions) -> tuple[list[Path], list[str]]:
    """The rule of the epilogue, and the errors that are known before a model is loaded."""
    sentences = [argument for argument in options.arguments if not _is_image(argument)] + [*options.text]
    named = [Path(argument) for argument in options.arguments if _is_image(argument)] + [*map(Path, options.image)]
    if not named:
        raise InputError('There is no image; for example: deixis segment photo.jpg "the red cup".')
    if not sentences:
        raise InputError('There is no sentence; for example: deixis segment photo.jpg "the red cup".')
    if not all(sentence.strip() for sentence in sentences):
        raise InputError('A sentence is empty; describe an object: deixis segment photo.jpg "the red cup".')
    images = [image for path in named for image in (_inside(path) if os.path.isdir(path) else [path])]
    if not any(map(os.path.exists, images)):
        raise InputError(f"There is no file {str(images[0])!r}; give the path of an image.")
    return images, sentences


def _is_image(argument: str) -> bool:
    if Path(argument).suffix.lower() in IMAGE_ENDINGS:
        return True
    return bool(argument.strip()) and os.path.exists(argument)  # unlike Path's, False for what is not a path


def _inside(folder: Path) -> list[Path]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    if not images:
        raise InputError(f"The folder {str(folder)!r} has no images; for a sentence of that name use --text.")
    return images


def _pictures(images: list[Path]) -> Iterator[tuple[Path, "np.ndarray | None"]]:
    """Each image's pixels; one that cannot be read is reported and is None, and raises where it is the only one."""
    from ..data.images import open_image

    for path in images:
        try:
            yield path, open_image(path)
        except DeixisError as error:
            if len(images) == 1:
                raise
            print(f"deixis: {error}", file=sys.stderr)
            yield path, None


def _print_notes(prediction: "Prediction", printed: set[str]) -> None:
    for note in prediction.notes:
        if note not in printed:
            print(f"deixis: {note}", file=sys.stderr)
            printed.add(note)


def _save(prediction: "Prediction", path: Path, options: SegmentOptions, used: set[str]) -> dict[str, Path]:
    """Write the pictures that were requested, under a name that no other prediction of this command has."""
    if options.json and options.out is None and not options.explain:
        return {}
    from ..predict.prediction import slug, write_picture

    folder = options.out or Path()
    sentence = slug(prediction.expression)
    stem = first = f"{_cut(path.stem, LONGEST_STEM - len(sentence.encode()))}-{sentence}"
    count = 1
    while stem.lower() in used:  # macOS and Windows do not distinguish case
        count += 1
        stem = f"{first}-{count}"
    used.add(stem.lower())
    files = {"overlay": folder / f"{stem}-overlay.png", "mask": folder / f"{stem}-mask.png"}
    prediction.save_pictures(files["overlay"], files["mask"])
    if options.explain:
        from ..viz import explanation

        picture = explanation(
            prediction.image,
            prediction.mask,
            prediction.probability,
            prediction.expression,
            prediction.tokens,
            prediction.evidence,
        )
        files["evidence"] = folder / f"{stem}-evidence.png"
        write_picture(files["evidence"], picture)
    return files


def _cut(name: str, num_bytes: int) -> str:
    """The start of a file's name, cut between letters."""
    while len(os.fsencode(name)) > num_bytes:
        name = name[:-1]
    return name


def _as_json(path: Path, prediction: "Prediction", model: str, files: dict[str, Path]) -> str:
    record: dict[str, Any] = {"image": str(path), **prediction.to_json(), "model": model}
    return json.dumps({**record, "files": {name: str(file) for name, file in files.items()}})


def _as_line(path: Path, prediction: "Prediction", files: dict[str, Path]) -> str:
    found = f"nothing found (score {prediction.score:.2f})" if prediction.score else "nothing found"
    if prediction.box is not None:
        left, top, width, height = prediction.box
        found = f"score {prediction.score:.2f}  box {left},{top} {width}x{height}"
    return f"{path}  {prediction.expression!r}  {found}  -> {', '.join(map(str, files.values()))}"
