"""COCO JSON with sentences per annotation, as annotation tools and people write it.

An annotation is `{"image_id", "segmentation", "captions": […]}`, with its sentences under any usual name, of the
annotation or of its `attributes`. `coco_layouts.py` lists where the files may be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DeixisError, InputError
from ...records import Ids, Sample
from ..validation import Issues
from .coco_layouts import FILES, CocoFile, find_coco_files
from .identity import Identity
from .instances import Instances
from .json_files import check_text
from .named_images import named_image
from .options import AS_WRITTEN, ReadOptions
from .record_masks import NO_MASK, facts_of, mask_of
from .referents import unknown_split
from .sentences import expected_keys, sentences_of


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence of one annotation."""

    annotation: Identity
    text: str
    split: str
    ids: Ids


class CaptionedInstances:
    """The sentences of one file: of one split, or of all without a split."""

    reads_masks = True

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        issues: Issues | None = None,
        options: ReadOptions = AS_WRITTEN,
    ) -> None:
        files = find_coco_files(Path(path))
        if len(files) != 1:
            several = ", ".join(file.path.name for file in files)
            raise InputError(
                f"{path} holds {several}; name one of these files."
                if files
                else f"{path} holds no COCO JSON; expected one of {', '.join(FILES)}."
            )
        self._read(files[0], Issues() if issues is None else issues, options)
        self._choose(self.captions, split)

    @classmethod
    def every_split(
        cls, path: str | Path, issues: Issues | None = None, options: ReadOptions = AS_WRITTEN
    ) -> dict[str, "CaptionedInstances"]:
        """All splits of one file or of several, each read once."""
        readers: dict[str, CaptionedInstances] = {}
        for file in [file.path for file in find_coco_files(Path(path))] or [Path(path)]:
            whole = cls(file, None, issues, options)
            for split in dict.fromkeys(caption.split for caption in whole.captions):
                if split in readers:
                    other = readers[split].instances.path
                    raise InputError(
                        f"{other} and {whole.instances.path} both have captions of the split {split!r}; join the files."
                    )
                reader = readers[split] = cls.__new__(cls)
                vars(reader).update(vars(whole))
                reader._choose(whole.captions, split)
        return readers

    def _read(self, file: CocoFile, issues: Issues, options: ReadOptions) -> None:
        self.issues, self.options = issues, options
        found: dict[Identity, list[Caption]] = {}

        def visit(annotation: Identity, record: Mapping[str, Any]) -> None:
            where = f"{file.path}: annotation {annotation}"
            try:
                found[annotation] = _captions_of(annotation, record, file.split, where, options.text_key)
            except DeixisError as error:
                issues.add(str(error))

        self.instances = Instances(file.path, issues, visit)
        self.folders = options.folders(file.root, file.places)
        self.captions = [caption for annotation in self.instances for caption in found.get(annotation, [])]
        if not self.captions and len(self.instances):
            keys = ", ".join(self.instances.annotation(next(iter(self.instances))))
            raise InputError(
                f"{file.path} has no captions: expected {expected_keys(options.text_key)} in its annotations or their "
                f"'attributes', whose first has {keys}; name the key of the sentences with --text-key."
            )

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
        name = instances.image_of(caption.annotation)
        image = instances.images[name]
        ignore_exif = image.ignore_exif or record.get("exif") == "ignore" or self.options.exif == "ignore"
        place = f"{instances.path} (image {name})"
        visual = named_image(self.folders, image.name, image.size, place, ignore_exif)
        where = f"{instances.path}: annotation {caption.annotation}"
        mask = mask_of(record, "segmentation", visual, where, self.issues) if self.reads_masks else NO_MASK
        traits = dict(record["traits"]) if isinstance(record.get("traits"), dict) else self._facts(caption.annotation)
        return Sample(
            visual=visual,
            expression=caption.text,
            mask=mask.rle,
            ids=caption.ids,
            dataset=str(record.get("dataset") or instances.path.parent.name),
            split=caption.split,
            traits={**traits, **facts_of(mask)},
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    def _facts(self, annotation: Identity) -> dict[str, Any]:
        image, category = self.instances.image_of(annotation), self.instances.category_of(annotation)
        count = self.instances.same_category(image, category)
        return {"category": self.instances.categories.get(category, ""), "same_category_count": count}


def _captions_of(
    annotation: Identity, record: Mapping[str, Any], split: str, where: str, text_key: str | None
) -> list[Caption]:
    """None for an object without sentences."""
    texts = sentences_of(record, where, text_key)
    ids = record["ids"] if isinstance(record.get("ids"), Mapping) else {}
    sentences = ids.get("sentences") or [f"{annotation}_{number}" for number in range(len(texts))]
    if texts and (not isinstance(sentences, list) or len(sentences) != len(texts)):
        raise InputError(f"{where} needs texts as captions, each with one id.")
    check_text([record.get(name) for name in ("ids", "split", "dataset", "traits")], where)
    image, referent = str(ids.get("image", record["image_id"])), str(ids.get("object", annotation))
    split = str(record.get("split") or split)
    return [
        Caption(annotation, text, split, Ids(image, referent, str(sentence)))
        for text, sentence in zip(texts, sentences, strict=bool(texts))
    ]
