"""PhraseCut in its official layout: `refer_<split>.json` with polygons per instance, and Visual Genome's images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import masks
from ...errors import DeixisError, InputError
from ...records import Ids, Sample
from ..segmentation import as_rle
from ..validation import Issues
from .jsonspans import Span, check_text, objects, parse, read_bytes, read_span
from .named_images import NamedImage, named_image
from .referents import required, unknown_split

PAGE = "https://github.com/ChenyunWu/PhraseCutDataset"
SPLITS = ("train", "val", "test", "miniv")


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is kept of a task: the polygons stay in the file, between two bytes."""

    image: int
    text: str
    instances: int
    span: Span


@dataclass(frozen=True, slots=True)
class GenomeImage:
    """What `image_data_split.json` says of an image; COCO's id where the photo is one of COCO's."""

    height: int
    width: int
    coco: int | None


class PhraseCut:
    """The phrases of one split; the target is the union of all instances that the phrase means."""

    def __init__(self, root: str | Path, split: str = "val", issues: Issues | None = None) -> None:
        root = Path(root)
        known = known_splits(root)
        if split not in known:
            raise unknown_split(split, set(known), f"{root}")
        self._open(root, split, read_genome(root), Issues() if issues is None else issues)

    @classmethod
    def every_split(cls, root: str | Path, issues: Issues | None = None) -> dict[str, "PhraseCut"]:
        readers = {split: cls.__new__(cls) for split in known_splits(Path(root))}
        genome = read_genome(Path(root))
        for split, reader in readers.items():
            reader._open(Path(root), split, genome, Issues() if issues is None else issues)
        return readers

    def _open(self, root: Path, split: str, genome: Mapping[int, GenomeImage], issues: Issues) -> None:
        self.root = root
        self.split = split
        self.file = root / f"refer_{split}.json"
        self.genome = genome
        phrases = list(_phrases(self.file, issues))
        self._phrases = [phrase for _, phrase in phrases]
        self.ids = tuple(Ids(str(phrase.image), task, task) for task, phrase in phrases)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        phrase, ids = self._phrases[position], self.ids[position]
        where = f"{self.file}: task {ids.sentence}"
        visual = self._visual(phrase.image, where)
        record = read_span(self.file, phrase.span, f"task {ids.sentence}")
        mask = as_rle(_polygons(record, where), *visual.size, where)
        facts = self.genome.get(phrase.image)
        coco = {"coco_image": facts.coco} if facts and facts.coco is not None else {}
        traits = {"num_instances": phrase.instances, "area": masks.area(mask), **coco}
        return Sample(
            visual=visual,
            expression=phrase.text,
            mask=mask,
            ids=ids,
            dataset="phrasecut",
            split=self.split,
            traits=traits,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    def _visual(self, image: int, where: str) -> NamedImage:
        facts = self.genome.get(image)
        size = (facts.height, facts.width) if facts else None
        return named_image(self.root / "images", f"{image}.jpg", size, where)


def known_splits(root: Path) -> tuple[str, ...]:
    """The splits whose files are there; raises DeixisError where none is."""
    found = tuple(split for split in SPLITS if (root / f"refer_{split}.json").is_file())
    if not found:
        required(root / "refer_val.json", "PhraseCut", PAGE)
    return found


def read_genome(root: Path) -> dict[int, GenomeImage]:
    """Sizes and COCO ids of the images, where the download has them."""
    file = root / "image_data_split.json"
    if not file.is_file():
        return {}
    images = parse(read_bytes(file), file)
    try:
        return {
            int(image["image_id"]): GenomeImage(
                int(image["height"]),
                int(image["width"]),
                None if image.get("coco_id") is None else int(image["coco_id"]),
            )
            for image in images
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{file}: an image has no whole image_id, height and width ({error!r}).") from error


def _phrases(file: Path, issues: Issues) -> Iterator[tuple[str, Phrase]]:
    data = read_bytes(file)
    start = len(data) - len(data.lstrip())
    spans = objects(data, start)
    if data[start : start + 1] != b"[" or data[spans[-1][1] if spans else start + 1 :].strip() != b"]":
        tasks = parse(data, file)
        raise InputError(f"{file} holds a {type(tasks).__name__}; a list of tasks is wanted; download it again.")
    seen: set[str] = set()
    for number, span in enumerate(spans):
        try:
            record = parse(data[slice(*span)], file, f"task number {number}")
            check_text([record.get("task_id"), record.get("phrase")], f"{file}: task number {number}")
            task, image = str(record["task_id"]), int(record["image_id"])
            text, instances = record["phrase"], len(record["Polygons"])
        except DeixisError as error:
            issues.add(str(error))
            continue
        except (KeyError, TypeError, ValueError, OverflowError):
            issues.add(f"{file}: task number {number} has no whole task_id, image_id, phrase and Polygons.")
            continue
        if not isinstance(text, str):
            issues.add(f"{file}: task {task}: the phrase is a {type(text).__name__}; a text is wanted.")
        elif task in seen:
            issues.add(f"{file}: two tasks have the id {task}; ids must be unique.")
        else:
            seen.add(task)
            yield task, Phrase(image, text, instances, span)


def _polygons(record: Any, where: str) -> list[list[float]]:
    """All polygons of all instances as COCO's flat lists; in the file a point is a pair."""
    try:
        return [
            [float(coordinate) for x, y in polygon for coordinate in (x, y)]
            for instance in record["Polygons"]
            for polygon in instance
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: its polygons are no lists of points ({error}).") from error
