"""Any reader as plain files: JSONL with run-length masks, or COCO JSON with captions, beside the images.

Both are read back by `folder` and `captions` as the same samples. The folder appears only when it is complete.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ... import masks
from ...errors import DeixisError, InputError
from ...files import complete_or_absent
from ...records import Reader, Sample
from ..validation import Issues

Layout = Literal["jsonl", "coco"]


def convert(
    readers: Mapping[str, Reader],
    out: Path,
    layout: Layout,
    issues: Issues | None = None,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write every sample of every reader into the new folder `out`; returns how many were written.

    Images are hard links where the file system allows, copies elsewhere. `advance` is called after every sample.
    """
    issues = Issues() if issues is None else issues
    written = 0
    with complete_or_absent(out) as folder:
        pictures = _Pictures(folder / "images")
        samples = _samples(readers, pictures, issues, advance)
        if layout == "jsonl":
            with (folder / "data.jsonl").open("w", encoding="utf-8") as file:
                for sample, name in samples:
                    file.write(json.dumps(_line(sample, name), ensure_ascii=False, default=_plain) + "\n")
                    written += 1
        else:
            whole = _Coco()
            for sample, name in samples:
                whole.add(sample, name)
                written += 1
            with (folder / "data.json").open("w", encoding="utf-8") as file:
                json.dump(whole.content(), file, ensure_ascii=False, default=_plain)
    return written


def _samples(
    readers: Mapping[str, Reader], pictures: "_Pictures", issues: Issues, advance: Callable[[], None]
) -> Iterator[tuple[Sample, str]]:
    for reader in readers.values():
        for position in range(len(reader)):
            try:
                sample = reader[position]
                yield sample, f"images/{pictures.add(sample)}"
            except DeixisError as error:
                issues.add(str(error))
            advance()


class _Pictures:
    """The images written so far: one file an image, under its own name where that is free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name_of: dict[str, str] = {}
        self.taken: set[str] = set()
        folder.mkdir()

    def add(self, sample: Sample) -> str:
        image = sample.ids.image
        if image not in self.name_of:
            source = getattr(sample.visual, "path", None)
            name = self._free_name(Path(source).name if source else f"{Path(image).name}.png")
            if source:
                _link(Path(source).resolve(), self.folder / name)
            else:
                pixels = sample.visual.read()
                if len(pixels) != 1:
                    raise InputError(f"Image {image} is a clip of {len(pixels)} frames; only stills are converted.")
                Image.fromarray(pixels[0]).save(self.folder / name)
            self.taken.add(name.lower())
            self.name_of[image] = name
        return self.name_of[image]

    def _free_name(self, name: str) -> str:
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{stem}_{number}{suffix}"
        return name


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise InputError(f"{source} is missing; download the images first.") from None
    except OSError:  # another file system, or one without hard links
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise InputError(f"{source} cannot be copied to {target}: {error.strerror}.") from error


def _line(sample: Sample, name: str) -> dict[str, Any]:
    return {
        "image": name,
        "size": list(sample.visual.size),
        "expression": sample.expression,
        "mask": sample.mask,
        "ids": {"image": sample.ids.image, "object": sample.ids.object, "sentence": sample.ids.sentence},
        "dataset": sample.dataset,
        "split": sample.split,
        "traits": dict(sample.traits),
    }


class _Coco:
    """COCO's lists, one annotation an object of a split; numbers count from 1, and `ids` keeps whose they were."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.annotations: dict[tuple[str, ...], dict[str, Any]] = {}
        self.categories: dict[str, int] = {}

    def add(self, sample: Sample, name: str) -> None:
        ids = sample.ids
        image = self.images.get(ids.image)
        if image is None:
            height, width = sample.visual.size
            number = len(self.images) + 1
            image = {"id": number, "file_name": name.removeprefix("images/"), "height": height, "width": width}
            self.images[ids.image] = image
        shape = sample.mask["counts"] if sample.mask else ""
        key = (sample.dataset, sample.split, ids.image, ids.object, shape)
        if key not in self.annotations:
            self.annotations[key] = self._annotation(sample, image["id"])
        self.annotations[key]["captions"].append(sample.expression)
        self.annotations[key]["ids"]["sentences"].append(ids.sentence)

    def content(self) -> dict[str, Any]:
        categories = [{"id": number, "name": name} for name, number in self.categories.items()]
        return {
            "info": {"description": "written by deixis"},
            "images": list(self.images.values()),
            "annotations": list(self.annotations.values()),
            "categories": categories,
        }

    def _annotation(self, sample: Sample, image: int) -> dict[str, Any]:
        name = str(sample.traits.get("category", "object"))
        shape: dict[str, Any] = {}
        if sample.mask is not None:
            area, box = masks.area(sample.mask), list(masks.box(sample.mask))
            shape = {"segmentation": sample.mask, "area": area, "bbox": box, "iscrowd": 0}
        return {
            "id": len(self.annotations) + 1,
            "image_id": image,
            "category_id": self.categories.setdefault(name, len(self.categories) + 1),
            **shape,
            "captions": [],
            "ids": {"image": sample.ids.image, "object": sample.ids.object, "sentences": []},
            "dataset": sample.dataset,
            "split": sample.split,
            "traits": dict(sample.traits),
        }


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"A {type(value).__name__} has no place in JSON.")
