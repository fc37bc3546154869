"""`deixis compare A.json B.json --pictures DIR`: the masks of two models where one is right and the other one wrong."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import masks, viz
from ..errors import InputError
from ..evaluation.disagreements import RIGHT, disagreements
from ..evaluation.record_files import read_header, read_records
from ..metrics.protocols import protocol_named
from ..predict.prediction import write_picture
from ..progress import ProgressBar
from ..records import Sample

if TYPE_CHECKING:
    from ..evaluation.report import Result
    from ..predict.segmenter import Segmenter
    from ..records import Reader
    from .compare import CompareOptions


def draw(options: "CompareOptions", out: Path, results: Sequence["Result"]) -> list[str]:
    """Write one sheet for each model that is right where the other one is wrong; returns a line about each.

    The models that the results name are loaded, and predict only what is drawn.
    """
    reader = _reader(options, results)
    paths = options.first, options.second
    names = _names(paths)
    records = [[*read_records(path.parent / one.records)] for path, one in zip(paths, results, strict=True)]
    rules = protocol_named(results[0].protocol)
    found = [
        disagreements(records[0], records[1], rules),
        disagreements(records[1], records[0], rules),
    ]
    samples = _samples(reader, {one.sentence for each in found for one in each[: options.count]})
    models = [_model(path, one, options) for path, one in zip(paths, results, strict=True)]
    thresholds = [thresholds_of(path, one) for path, one in zip(paths, results, strict=True)]
    lines = []
    for right, each in enumerate(found):
        line = f"{names[right]} right (IoU {RIGHT:g} or more), {names[1 - right]} wrong: {len(each):,} expressions"
        if each:
            file = out / f"{names[right]}-right.png"
            chosen = each[: options.count]
            with ProgressBar("pictures", len(chosen), quiet=options.json) as bar:
                rows = list[Image.Image]()
                for one in chosen:
                    ious = (one.first, one.second) if right == 0 else (one.second, one.first)
                    rows += _rows(samples[one.sentence], models, names, ious, thresholds)
                    bar.advance()
            write_picture(file, viz.stack(rows))
            line += f"  {file}"
        lines.append(line)
    return lines


def _rows(
    sample: Sample,
    models: Sequence["Segmenter"],
    names: Sequence[str],
    ious: Sequence[float],
    thresholds: Sequence[dict[str, Any]],
) -> list[Image.Image]:
    image = sample.visual.read([sample.frame])[0]
    assert sample.mask is not None
    shown = {"target": masks.decode(sample.mask)}
    for model, name, iou, used in zip(models, names, ious, thresholds, strict=True):
        found = model(Image.fromarray(image), sample.expression, **used)
        shown[f"{name} {iou:.2f}"] = found.mask
    return viz.side_by_side(image, sample.expression, shown)


def thresholds_of(path: Path, result: "Result") -> dict[str, Any]:
    """The thresholds that the result was computed with, where its model has them."""
    head = read_header(path.parent / result.records).get("presence")
    return {
        "threshold": None if result.mask_rule == "half-maximum" else result.threshold,
        "presence_threshold": None if head is None else head["threshold"],
    }


def _reader(options: "CompareOptions", results: Sequence["Result"]) -> "Reader":
    from ..data.validation import Issues
    from ..evaluation.splits import open_split

    if not options.data:
        raise InputError("--pictures draws the images of the results, which hold none; give their --data, too.")
    if any(one.checkpoint_hash is None for one in results):
        raise InputError("--pictures needs two results of models; one of these was computed from a file of masks.")
    reader = open_split(options, Issues(), protocol_named(results[0].protocol).overlaps)
    if reader[0].visual.num_frames > 1:
        raise InputError(f"--pictures compares masks of images, but {options.data} holds clips; omit --pictures.")
    return reader


def _samples(reader: "Reader", wanted: set[str]) -> Mapping[str, Sample]:
    """Raises `InputError` where an expression of the results is not in the data."""
    places = {ids.sentence: place for place, ids in enumerate(reader.ids) if ids.sentence in wanted}
    if missing := wanted - places.keys():
        raise InputError(
            f"Sentence {min(missing)!r} of the results is not in these data; give the --data, --split and --scenes "
            "that were evaluated."
        )
    return {sentence: reader[place] for sentence, place in places.items()}


def _model(path: Path, result: "Result", options: "CompareOptions") -> "Segmenter":
    """The model that the result names. Raises `InputError` where its weights are others now."""
    from ..evaluation.evaluator import hash_of
    from ..zoo.loading import load

    settings = dict((result.computed or {}).get("settings", {}))
    segmenter = load(result.model, device=options.device, settings=settings)
    if segmenter.weights is None or hash_of(segmenter.weights) != result.checkpoint_hash:
        raise InputError(
            f"{path} was computed with other weights than {result.model} has now; evaluate again, or restore them."
        )
    return segmenter


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without their ending; folder and name where the names are equal."""
    names = [path.stem for path in paths]
    return names if names[0] != names[1] else [f"{path.parent.name}-{path.stem}" for path in paths]


def show(lines: Sequence[str], *, as_json: bool) -> None:
    """To standard error where standard output is JSON."""
    for line in lines:
        print(line, file=sys.stderr if as_json else sys.stdout)
