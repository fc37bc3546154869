"""`deixis segment`: photos and sentences in, masks out."""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeixisError, InputError, did_you_mean
from .compiling import add_compiled_option, tell_of_compiling
from .parsing import Parser

if TYPE_CHECKING:
    import numpy as np

    from ..predict.prediction import Prediction
    from ..predict.segmenter import Segmenter

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
LONGEST_STEM = 255 - len("--99999-evidence.png")  # bytes for photo and sentence; file systems stop at 255
EPILOGUE = """\
What names an existing file or folder, or ends like an image (.jpg, .png, .webp …), is an image; a folder stands
for the images in it; everything else is a sentence. Where that guesses wrong, say --image or --text. Every
sentence is looked for in every image.

  deixis segment photo.jpg "the red cup"
  deixis segment holiday/ "the dog" "the man on the left" --out answers
  deixis segment photo.jpg "the red cup" --json | jq .score
"""


def main(arguments: list[str]) -> int:
    """Exit code 0 when all is done, 1 when some of several images or their answers failed, 2 when all did."""
    options = _parse(arguments)
    images, sentences = _images_and_sentences(options)
    used: set[str] = set()  # names of files in small letters, so that no answer overwrites another
    told: set[str] = set()  # warnings, so that a thousand images do not repeat one
    bad: set[int] = set()  # positions of images
    segmenter = _load(options)
    tell_of_compiling(options)
    for position, (path, picture) in enumerate(_pictures(images)):
        if picture is None:
            bad.add(position)
            continue
        for prediction in _predict(segmenter, picture, sentences, options, told):
            try:
                files = _save(prediction, path, options, used)
            except DeixisError as error:
                print(f"deixis: {error}", file=sys.stderr)
                bad.add(position)
                continue
            print(
                _as_json(path, prediction, segmenter.name, files) if options.json else _as_line(path, prediction, files)
            )
            sys.stdout.flush()
    return (1 if len(bad) < len(images) else 2) if bad else 0


def _parser() -> Parser:
    parser = Parser(
        prog="deixis segment",
        description="Find what sentences point at in photos; write an overlay and a mask for each answer.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("arguments", nargs="*", metavar="IMAGE|SENTENCE", help="images, folders of images, sentences")
    parser.add_argument("--image", action="append", default=[], metavar="PATH", help="an image, whatever its name")
    parser.add_argument("--text", action="append", default=[], metavar="SENTENCE", help="a sentence, whatever it names")
    parser.add_argument("--model", default="embedded", metavar="NAME|PATH", help="a model's name, or its folder")
    parser.add_argument("--download", action="store_true", help="fetch the model, a published one, if it is not here")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where pictures go (here; with --json: nowhere)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each image and sentence")
    parser.add_argument("--explain", action="store_true", help="draw the evidence too: which words, which pixels")
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P", help="a pixel is in the mask above it (0.5)"
    )
    parser.add_argument(
        "--presence-threshold",
        type=float,
        metavar="P",
        help="what the chance that it is there must exceed, for models that say it (0.5)",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (the fastest at hand)")
    parser.add_argument("--dtype", default="float32", metavar="NAME", help="float32, bfloat16 or float16 (float32)")
    add_compiled_option(parser)
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]
        raise InputError(f"There is no option {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
    for name, value in (("threshold", options.threshold), ("presence threshold", options.presence_threshold)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"The {name} is {value}; a probability between 0 and 1 is wanted.")
    if options.out is not None and options.out.is_file():
        raise InputError(f"{options.out} is a file, in which no answer can be written; give --out a folder.")
    return options


def _images_and_sentences(options: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """The rule of the epilogue, and what can be refused before any model is loaded."""
    sentences = [argument for argument in options.arguments if not _is_image(argument)] + options.text
    named = [Path(argument) for argument in options.arguments if _is_image(argument)] + list(map(Path, options.image))
    if not named:
        raise InputError('No image came; for example: deixis segment photo.jpg "the red cup".')
    if not sentences:
        raise InputError('No sentence came; say what to look for: deixis segment photo.jpg "the red cup".')
    if not all(sentence.strip() for sentence in sentences):
        raise InputError('A sentence is empty; say what to look for: deixis segment photo.jpg "the red cup".')
    images = [image for path in named for image in (_inside(path) if os.path.isdir(path) else [path])]
    if not any(map(os.path.exists, images)):
        raise InputError(f"There is no file {str(images[0])!r}; give the path of an image.")
    return images, sentences


def _is_image(argument: str) -> bool:
    if Path(argument).suffix.lower() in IMAGE_ENDINGS:
        return True
    return bool(argument.strip()) and os.path.exists(argument)  # unlike Path's, False for what is no path at all


def _inside(folder: Path) -> list[Path]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    if not images:
        raise InputError(f"The folder {str(folder)!r} holds no image; if it was meant as a sentence, say --text.")
    return images


def _load(options: argparse.Namespace) -> "Segmenter":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # what libraries have to say is no answer to a user
    warnings.filterwarnings("ignore")
    from ..zoo.loading import load

    return load(
        options.model,
        device=options.device,
        dtype=options.dtype,
        download=options.download,
        compiled=options.compiled,
    )


def _pictures(images: list[Path]) -> Iterator[tuple[Path, "np.ndarray | None"]]:
    """Each image's pixels; one that cannot be read is reported and is None, unless it is all there is to do."""
    from ..data.images import open_image

    for path in images:
        try:
            yield path, open_image(path)
        except DeixisError as error:
            if len(images) == 1:
                raise
            print(f"deixis: {error}", file=sys.stderr)
            yield path, None


def _predict(
    segmenter: "Segmenter", picture: "np.ndarray", sentences: list[str], options: argparse.Namespace, told: set[str]
) -> "Iterator[Prediction]":
    from ..predict.segmenter import ExpressionWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ExpressionWarning)
        predictions = segmenter.stream(
            picture, sentences, threshold=options.threshold, presence_threshold=options.presence_threshold
        )
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        if message not in told:
            print(f"deixis: {message}", file=sys.stderr)
    told.update(str(warning.message) for warning in caught)
    return predictions


def _save(prediction: "Prediction", path: Path, options: argparse.Namespace, used: set[str]) -> dict[str, Path]:
    """Write what was asked for, under a name that no other answer of this command has."""
    if options.json and options.out is None and not options.explain:
        return {}
    from ..predict.prediction import slug, write_picture

    folder = options.out or Path()
    said = slug(prediction.expression)
    stem = wanted = f"{_cut(path.stem, LONGEST_STEM - len(said.encode()))}-{said}"
    count = 1
    while stem.lower() in used:  # macOS and Windows take names that differ in case only for one
        count += 1
        stem = f"{wanted}-{count}"
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
            prediction.words,
            prediction.evidence,
        )
        files["evidence"] = folder / f"{stem}-evidence.png"
        write_picture(files["evidence"], picture)
    return files


def _cut(name: str, num_bytes: int) -> str:
    """The start of a file's name, up to the last whole letter."""
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
