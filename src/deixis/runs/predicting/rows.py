"""The rows of a prediction run: an image and an expression in, a mask or an error out."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ...data.image_folders import find_images
from ...data.readers.text_files import read_text_file
from ...errors import DeixisError, InputError
from ...predict.segmenter import Segmenter

EXPRESSION_KEYS = ("expression", "sentence", "text")


@dataclass(frozen=True)
class Row:
    """What is asked; `id` depends on the image's path, the expression and the settings of the run."""

    id: str
    image: str
    expression: str


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How a model is loaded in each process, and asked; plain values, which every process can read."""

    model: str
    load: Mapping[str, Any]  # further arguments of `deixis.load`
    threshold: float | None = None
    presence_threshold: float | None = None
    threads: int = 1  # of each process

    def segmenter(self) -> Segmenter:
        """The model, loaded in this process."""
        import os

        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # which PyTorch and the runtimes of exports read
        from ...zoo.loading import load

        return load(self.model, **self.load)


def row_id(image: str, expression: str, settings: Mapping[str, Any]) -> str:
    """The hash of the image's path, the expression and what an answer depends on beside them."""
    content = json.dumps([image, expression, settings], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def read_rows(
    data: Path, expressions: Sequence[str], settings: Mapping[str, Any], *, recursive: bool = False
) -> list[Row]:
    """The rows of a JSONL file, or of a folder of images of which each is asked every expression; each row once.

    A line of the file is an object with `image`, a path relative to the file, and `expression`; without it the image is
    asked `expressions`. Raises `InputError` for a line that is neither.
    """
    pairs = _of_folder(data, expressions, recursive) if data.is_dir() else _of_file(data, expressions)
    rows = {found.id: found for found in (Row(row_id(*pair, settings), *pair) for pair in pairs)}
    if not rows:
        raise InputError(f"{data} has no rows; expected images, or lines with an image and an expression.")
    return list(rows.values())


def _of_folder(folder: Path, expressions: Sequence[str], recursive: bool) -> Iterator[tuple[str, str]]:
    if not expressions:
        raise InputError(f"{folder} is a folder of images, about which nothing is asked; give --text or --texts.")
    for image in find_images(folder, recursive).images:
        yield from ((str(image), expression) for expression in expressions)


def _of_file(file: Path, expressions: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not file.is_file():
        raise InputError(f"There is no file or folder {file}; give a JSONL file or a folder of images.")
    for number, line in enumerate(read_text_file(file).text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not JSON ({error}); expected an object with image and expression.") from None
        image = record.get("image") if isinstance(record, dict) else None
        if not isinstance(image, str) or not image:
            raise InputError(f"{where} has no image; expected an object with image and expression.")
        own = next((record[key] for key in EXPRESSION_KEYS if key in record), None)
        asked = list(expressions) if own is None else own if isinstance(own, list) else [own]
        if not asked or not all(isinstance(each, str) for each in asked):
            raise InputError(f"{where} has no expression; add one, or give --text for all images.")
        yield from ((str(file.parent / image), expression) for expression in asked)


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows in their order, about `size` at a time; neighbours about one image stay together, up to twice the size."""
    chunk: list[Row] = []
    for row in rows:
        is_other = bool(chunk) and row.image != chunk[-1].image
        if (len(chunk) >= size and is_other) or len(chunk) >= 2 * size:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def answer_rows(segmenter: Segmenter, rows: Sequence[Row], asking: Asking) -> list[dict[str, Any]]:
    """For each row its record, with the mask or with the error; neighbours about one image share its encoding."""
    records = []
    for image, group in groupby(rows, key=lambda row: row.image):
        encoded, fault = None, ""
        try:
            encoded = segmenter.encode(Path(image))
        except Exception as error:  # one image never ends a run of millions
            fault = described(error)
        for row in group:
            if encoded is None:
                records.append(failed(row, fault, asking.model))
                continue
            try:
                found = encoded(
                    row.expression, threshold=asking.threshold, presence_threshold=asking.presence_threshold
                )
            except Exception as error:  # as above
                records.append(failed(row, described(error), asking.model))
                continue
            records.append({**failed(row, None, asking.model), **_fields(found.to_json())})
    return records


def failed(row: Row, error: str | None, model: str) -> dict[str, Any]:
    """The record of a row without a mask."""
    empty = dict.fromkeys(("present", "score", "box", "size", "rle", "notes"))
    return {"id": row.id, "image": row.image, "expression": row.expression, **empty, "error": error, "model": model}


def described(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DeixisError) else f"{type(error).__name__}: {text}"


def _fields(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "present": answer["present"],
        "score": answer["score"],
        "box": answer["box"],
        "size": answer["size"],
        "rle": answer["rle"]["counts"],
        "notes": answer["notes"],
        "model": answer["model"],
    }
