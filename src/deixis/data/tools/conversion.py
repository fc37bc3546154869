"""Write any reader as plain files: JSONL with run-length masks, or COCO JSON with captions, beside the images.

Both are read back as the same samples. Clips stay clips in JSONL; COCO JSON has none, so that there the frames with
masks become images. The folder appears only when it is complete.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ... import masks
from ...errors import DeixisError, InputError
from ...files import complete_or_absent
from ...records import Reader, Sample
from ..clips import FrameFolder, VideoFile
from ..readers.record_masks import CUT
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
        pictures = _Pictures(folder / "images", keep_clips=layout == "jsonl")
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
                yield pictures.renamed(sample), pictures.add(sample)
            except DeixisError as error:
                issues.add(str(error))
            advance()


class _Pictures:
    """The images and clips written so far: each once, under its own name where that is free."""

    def __init__(self, folder: Path, keep_clips: bool) -> None:
        self.folder = folder
        self.keep_clips = keep_clips
        self.name_of: dict[tuple[str, int], str] = {}
        self.taken: set[str] = set()
        folder.mkdir()

    def add(self, sample: Sample) -> str:
        """Where the sample's image or clip is, from the new folder."""
        is_clip = isinstance(sample.visual, VideoFile | FrameFolder)
        key = sample.ids.image, sample.frame if is_clip and not self.keep_clips else 0
        if key not in self.name_of:
            write = self._image if not is_clip else self._clip if self.keep_clips else self._frame
            self.name_of[key] = write(sample)
        return self.name_of[key]

    def renamed(self, sample: Sample) -> Sample:
        """The sample, whose frame has an id of its own where it becomes an image."""
        if self.keep_clips or not isinstance(sample.visual, VideoFile | FrameFolder):
            return sample
        return replace(sample, ids=replace(sample.ids, image=f"{sample.ids.image}/{sample.frame}"))

    def _image(self, sample: Sample) -> str:
        image = sample.ids.image
        source = getattr(sample.visual, "path", None)
        name = self._free_name(Path(source).name if source else f"{Path(image).name}.png")
        if source:
            _link(Path(source).resolve(), self.folder / name)
        else:
            pixels = sample.visual.read()
            if len(pixels) != 1:
                raise InputError(f"Image {image} is a clip of {len(pixels)} frames; only images are converted.")
            Image.fromarray(pixels[0]).save(self.folder / name)
        return f"images/{name}"

    def _frame(self, sample: Sample) -> str:
        name = self._free_name(f"{_file_name(sample.ids.image)}_{sample.frame:05d}.png")
        Image.fromarray(sample.visual.read([sample.frame])[0]).save(self.folder / name)
        return f"images/{name}"

    def _clip(self, sample: Sample) -> str:
        source = sample.visual
        folder = self.folder.with_name("videos")
        folder.mkdir(exist_ok=True)
        if isinstance(source, FrameFolder):
            name = self._free_name(_file_name(sample.ids.image))
            part = folder / name
            part.mkdir()
            try:
                for frame in source.names:
                    _link((source.folder / frame).resolve(), part / frame)
            except DeixisError:
                shutil.rmtree(part)
                raise
        else:
            path = Path(getattr(source, "path", ""))
            name = self._free_name(path.name)
            _link(path.resolve(), folder / name)
        return f"videos/{name}"

    def _free_name(self, name: str) -> str:
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{stem}_{number}{suffix}"
        self.taken.add(name.lower())
        return name


def _file_name(identity: str) -> str:
    """The identity without what divides folders."""
    return identity.replace("/", "_").replace("\\", "_")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise InputError(f"{source} is missing; put the image there first.") from None
    except OSError:  # another file system, or one without hard links
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise InputError(f"{source} cannot be copied to {target}: {error.strerror}.") from error


def _line(sample: Sample, name: str) -> dict[str, Any]:
    visual = sample.visual
    place: dict[str, Any] = {"image": name, "size": list(visual.size)}
    if isinstance(visual, VideoFile | FrameFolder):
        place = {"video": name, "frame": sample.frame}
    if isinstance(visual, FrameFolder):
        place["frames"] = list(visual.names)  # which may have gaps
    return {
        **place,
        "expression": sample.expression,
        "mask": sample.mask,
        "ids": {"image": sample.ids.image, "object": sample.ids.object, "sentence": sample.ids.sentence},
        "dataset": sample.dataset,
        "split": sample.split,
        "traits": _traits(sample),
        **_exif(sample),
    }


def _traits(sample: Sample) -> dict[str, Any]:
    """Without what only holds of the mask's old file."""
    return {name: value for name, value in sample.traits.items() if name != CUT}


def _exif(sample: Sample) -> dict[str, str]:
    """The photo is copied as it is, so that it must be read back as it was read."""
    return {"exif": "ignore"} if getattr(sample.visual, "ignore_exif", False) else {}


class _Coco:
    """COCO's lists, one annotation for each object of a split; numbers count from 1, and `ids` keeps the old ids."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.annotations: dict[tuple[str, ...], dict[str, Any]] = {}
        self.categories: dict[str, int] = {}

    def add(self, sample: Sample, name: str) -> None:
        ids = sample.ids
        image = self.images.get(name)
        if image is None:
            height, width = sample.visual.size
            number = len(self.images) + 1
            file_name = name.removeprefix("images/")
            image = {"id": number, "file_name": file_name, "height": height, "width": width, **_exif(sample)}
            self.images[name] = image
        shape = sample.mask["counts"] if sample.mask else ""
        key = (sample.dataset, sample.split, name, ids.object, shape)
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
            "traits": _traits(sample),
        }


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"JSON cannot hold a value of type {type(value).__name__}.")
