"""PhraseCut in its official layout: `refer_<split>.json` with polygons per instance; images of Visual Genome."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import masks
from ...errors import DeixisError, InputError
from ...masks import RLE
from ...records import Ids, Sample
from ..segmentation import as_rle, has_box
from ..validation import Issues
from .json_files import JsonRecords, check_text, parse
from .named_files import SearchFolders
from .named_images import NamedImage, named_image
from .referents import required, unknown_split
from .text_files import read_text_file

PAGE = "https://github.com/ChenyunWu/PhraseCutDataset"
SPLITS = ("train", "val", "test", "miniv")


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is kept of a task; its polygons stay in the file."""

    image: int
    text: str
    instances: int


@dataclass(frozen=True, slots=True)
class GenomeImage:
    """An image of `image_data_split.json`; `coco` is COCO's id of the photo, where it is one of COCO's."""

    height: int
    width: int
    coco: int | None


class PhraseCut:
    """The phrases of one split; the mask is the union of all instances that the phrase refers to."""

    reads_masks = True

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
        self.folders = SearchFolders(root / "images", ("",))
        phrases: dict[str, Phrase] = {}

        def visit(number: int, record: Any) -> bool:
            try:
                task, phrase = _check_task(record, number, self.file, phrases)
            except DeixisError as error:
                issues.add(str(error))
                return False
            phrases[task] = phrase
            return True

        self._records = JsonRecords(self.file, None, visit)
        self._phrases = list(phrases.values())
        self.ids = tuple(Ids(str(phrase.image), task, task) for task, phrase in phrases.items())

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        phrase, ids = self._phrases[position], self.ids[position]
        where = f"{self.file}: task {ids.sentence}"
        visual = self._visual(phrase.image, where)
        mask = self._mask(position, visual.size, where) if self.reads_masks else None
        facts = self.genome.get(phrase.image)
        coco = {"coco_image": facts.coco} if facts and facts.coco is not None else {}
        area = {} if mask is None else {"area": masks.area(mask)}
        traits = {"num_instances": phrase.instances, **area, **coco}
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

    def _mask(self, position: int, size: tuple[int, int], where: str) -> RLE | None:
        return _mask(self._records.read(position, f"task {self.ids[position].sentence}"), size, where)

    def _visual(self, image: int, where: str) -> NamedImage:
        facts = self.genome.get(image)
        size = (facts.height, facts.width) if facts else None
        return named_image(self.folders, f"{image}.jpg", size, where)


def known_splits(root: Path) -> tuple[str, ...]:
    """The splits whose files exist; raises InputError where none does."""
    found = tuple(split for split in SPLITS if (root / f"refer_{split}.json").is_file())
    if not found:
        required(root / "refer_val.json", "PhraseCut", PAGE)
    return found


def read_genome(root: Path) -> dict[int, GenomeImage]:
    """Sizes and COCO ids of the images; none where the download lacks them."""
    file = root / "image_data_split.json"
    if not file.is_file():
        return {}
    images = parse(read_text_file(file).data, file)
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
        raise InputError(f"{file}: an image lacks a valid image_id, height or width ({error!r}).") from error


def _check_task(record: Any, number: int, file: Path, seen: Mapping[str, Phrase]) -> tuple[str, Phrase]:
    """Raises InputError where the task is not complete."""
    where = f"{file}: task number {number}"
    try:
        check_text([record.get("task_id"), record.get("phrase")], where)
        task, image = str(record["task_id"]), int(record["image_id"])
        text, instances = record["phrase"], len(record["Polygons"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} lacks a valid task_id, image_id, phrase or Polygons.") from None
    if not isinstance(text, str):
        raise InputError(f"{file}: task {task}: the phrase is of type {type(text).__name__}; expected a text.")
    if task in seen:
        raise InputError(f"{file}: two tasks have the id {task}; ids must be unique.")
    return task, Phrase(image, text, instances)


def _mask(record: Any, size: tuple[int, int], where: str) -> RLE | None:
    """The union of the instances; None where there are boxes only."""
    polygons = _polygons(record, where)
    boxes = record.get("instance_boxes")
    if not polygons and isinstance(boxes, list) and any(map(has_box, boxes)):
        return None
    return as_rle(polygons, *size, where, as_published=True)


def _polygons(record: Any, where: str) -> list[list[float]]:
    """All polygons of all instances as COCO's flat lists; in the file a point is a pair."""
    try:
        return [
            [float(coordinate) for x, y in polygon for coordinate in (x, y)]
            for instance in record["Polygons"]
            for polygon in instance
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: its polygons are not lists of points ({error}).") from error
