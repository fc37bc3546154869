"""COCO JSON with captions per annotation: `{"image_id", "segmentation", "captions": […]}`, or `caption` alone.

One file, or one a split: `train.json`, `val.json`, `test.json`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import masks
from ...errors import DeixisError, InputError
from ...records import Ids, Sample
from ..segmentation import as_rle
from ..validation import Issues
from .instances import Instances
from .jsonl import WHOLE
from .jsonspans import check_text
from .named_images import NamedImage
from .referents import unknown_split

_KEYS = ("captions", "caption", "expressions", "expression", "sentences", "sentence")
_FILES = ("data.json", "annotations.json", "instances.json", "annotations/instances.json")
_NAMED_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of one annotation."""

    annotation: int
    text: str
    split: str
    ids: Ids


class CaptionedInstances:
    """The captions of a file: of one split, or of all where none is named."""

    def __init__(self, path: str | Path, split: str | None = None, issues: Issues | None = None) -> None:
        files = find_files(Path(path))
        if len(files) != 1:
            several = ", ".join(file.name for file in files)
            raise InputError(
                f"{path} holds {several}; name one of these files."
                if files
                else f"{path} holds no COCO JSON; one of {', '.join(_FILES)} is wanted."
            )
        (file,) = files
        issues = Issues() if issues is None else issues
        self.instances = Instances(file, issues)
        self.root = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
        captions = list(_captions(self.instances, file.stem if file.stem in _NAMED_SPLITS else WHOLE, issues))
        if not captions:
            raise InputError(f"{file} has no captions; its annotations need 'caption', or 'captions' with a list.")
        self._choose(captions, split)

    @classmethod
    def every_split(cls, path: str | Path, issues: Issues | None = None) -> dict[str, "CaptionedInstances"]:
        """All splits of one file or of several, each read once."""
        readers: dict[str, CaptionedInstances] = {}
        for file in find_files(Path(path)) or [Path(path)]:
            whole = cls(file, None, issues)
            for split in dict.fromkeys(caption.split for caption in whole.captions):
                if split in readers:
                    other = readers[split].instances.path
                    raise InputError(f"{other} and {file} both have captions of the split {split!r}; join the files.")
                reader = readers[split] = cls.__new__(cls)
                reader.instances, reader.root = whole.instances, whole.root
                reader._choose(whole.captions, split)
        return readers

    def _choose(self, captions: list[Caption], split: str | None) -> None:
        known = {caption.split for caption in captions}
        if split is not None and split not in known:
            raise unknown_split(split, known, f"{self.instances.path}")
        self.captions = [caption for caption in captions if split in (None, caption.split)]
        self.ids = tuple(caption.ids for caption in self.captions)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, position: int) -> Sample:
        caption, instances = self.captions[position], self.instances
        record = instances.annotation(caption.annotation)
        image = instances.image_of(caption.annotation)
        picture = instances.images[image]
        where = f"{instances.path}: annotation {caption.annotation}"
        segmentation = record.get("segmentation")
        mask = None if segmentation is None else as_rle(segmentation, picture.height, picture.width, where)
        traits = dict(record["traits"]) if isinstance(record.get("traits"), dict) else self._facts(caption.annotation)
        return Sample(
            visual=NamedImage(
                self.root, picture.name, picture.height, picture.width, f"{instances.path} (image {image})"
            ),
            expression=caption.text,
            mask=mask,
            ids=caption.ids,
            dataset=str(record.get("dataset") or instances.path.parent.name),
            split=caption.split,
            traits=traits if mask is None else {**traits, "area": masks.area(mask)},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    def _facts(self, annotation: int) -> dict[str, Any]:
        image, category = self.instances.image_of(annotation), self.instances.category_of(annotation)
        count = self.instances.same_category(image, category)
        return {"category": self.instances.categories.get(category, ""), "same_category_count": count}


def find_files(path: Path) -> list[Path]:
    """The COCO JSON that `path` is or holds, or those of its splits; none where there is no such file."""
    if path.suffix == ".json":
        return [path] if path.is_file() else []
    for names in (*((name,) for name in _FILES), tuple(f"{split}.json" for split in _NAMED_SPLITS)):
        if files := [path / name for name in names if (path / name).is_file()]:
            return files
    return []


def _captions(instances: Instances, split: str, issues: Issues) -> Iterator[Caption]:
    """What is said of every annotation; those that are broken are refused through the issues."""
    for record in instances.records(issues):
        try:
            yield from _captions_of(record, split, f"{instances.path}: annotation {record['id']}")
        except DeixisError as error:
            issues.add(str(error))


def _captions_of(record: Mapping[str, Any], split: str, where: str) -> list[Caption]:
    key = next((key for key in _KEYS if record.get(key)), None)
    if key is None:
        return []  # an object that nobody speaks about
    texts = record[key] if isinstance(record[key], list) else [record[key]]
    ids = record["ids"] if isinstance(record.get("ids"), Mapping) else {}
    sentences = ids.get("sentences") or [f"{record['id']}_{number}" for number in range(len(texts))]
    each_has_one = isinstance(sentences, list) and len(sentences) == len(texts)
    if not each_has_one or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where} needs texts as captions, each with one id.")
    check_text([texts, *(record.get(name) for name in ("ids", "split", "dataset", "traits"))], where)
    image, thing = str(ids.get("image", record["image_id"])), str(ids.get("object", record["id"]))
    split = str(record.get("split") or split)
    return [
        Caption(int(record["id"]), text, split, Ids(image, thing, str(sentence)))
        for text, sentence in zip(texts, sentences, strict=True)
    ]
