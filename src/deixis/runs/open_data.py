"""The readers of a run's data: opened, checked, and for Toyland drawn where the scenes do not exist yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from ..data.mirrored import Mirrored
from ..data.pictures import Pictures
from ..data.readers.captions import CaptionedInstances
from ..data.readers.formats import choose, open_splits
from ..data.readers.jsonl import JsonlDataset
from ..data.readers.loose_clips import LooseClips
from ..data.readers.options import ReadOptions
from ..data.readers.unlabelled import without_masks
from ..data.subsets import Concat, Subset
from ..data.validation import Issues, validate
from ..errors import InputError
from ..progress import ProgressBar
from ..records import Reader
from ..toyland.export.packing import pack
from ..toyland.language.expressions import ExpressionOptions
from ..toyland.packed import PackedToyland
from ..toyland.scene_classes import SceneClasses
from ..toyland.world import FIRST_SEEDS, Toyland
from ..training.processes import processes
from ..zoo.lookup import imported
from .data import HELD_OUT, Data, StoredData, ToylandData


@dataclass(frozen=True, kw_only=True)
class DomainReaders:
    """The training splits of two domains, and the target's validation split, if it has one."""

    source: Reader
    target: Reader
    validation: Reader | None


def open_data(data: Data) -> tuple[Reader, Reader]:
    """Training and validation."""
    training, validation = (
        (_toyland(data, "train"), _toyland(data, "val")) if isinstance(data, ToylandData) else _stored(data)
    )
    if data.labels == "pictures":
        return Pictures(training), Pictures(validation)
    return training, validation


def _stored(data: StoredData) -> tuple[Reader, Reader]:
    issues = Issues(skip=data.skip_broken)
    splits = _splits(data, issues)
    if len(splits) == 1 and {data.train_split, data.validation_split} - {*splits}:
        raise InputError(
            f"{data.root} has only the split {next(iter(splits))!r}; training needs one split to learn from and "
            "another for scores: write train.jsonl and val.jsonl (or .json), or give each record a 'split'."
        )
    training, validation = _checked(data, splits, (data.train_split, data.validation_split), issues)
    return training, validation


def open_domains(source: Data, target: Data) -> DomainReaders:
    """The readers of an adaptation. Where a domain has one split, that one is trained on, whatever its name."""
    if source.labels != "masks":
        raise InputError(
            f"The source domain is read with labels={source.labels!r}; adaptation needs its masks, labels='masks'."
        )
    (training,) = _opened(source, (source.train_split,) if isinstance(source, StoredData) else ("train",), "data")
    target = replace(target, labels="none")
    names = (target.train_split, target.validation_split) if isinstance(target, StoredData) else ("train", "val")
    first, *rest = _opened(target, names, "target")
    return DomainReaders(source=training, target=first, validation=rest[0] if rest else None)


def _opened(data: Data, names: Sequence[str], option: str) -> list[Reader]:
    """The splits of these names; where there is only one, of another name, that one."""
    if isinstance(data, ToylandData):
        return [_toyland(data, "train" if name == "train" else "val") for name in names]
    issues = Issues(skip=data.skip_broken)
    splits = _splits(data, issues)
    if len(splits) == 1 and {*names} - {*splits}:
        names = (*splits,)
    for name, field in zip(names, ("train-split", "validation-split"), strict=False):
        try:
            choose(splits, name, data.root)
        except InputError as error:
            raise InputError(f"{error} Name another one with --{option}.{field}.") from None
    return _checked(data, splits, names, issues)


def _splits(data: StoredData, issues: Issues) -> Mapping[str, Reader]:
    options = ReadOptions(
        text_key=data.text_key,
        exif=data.exif,
        images=None if data.images is None else Path(data.images),
        allow_outside=data.allow_outside,
        sentences=data.sentences,
    )
    if _is_own(data):
        splits = _own_splits(data)
    else:
        splits = open_splits(data.root, data.dataset, data.split_by, issues, data.overlaps, options)
    return _parted(splits, data) if data.held_out else splits


def _parted(splits: Mapping[str, Reader], data: StoredData) -> Mapping[str, Reader]:
    """The splits with the training split in two, by hashes of the names of its images or videos."""
    training = choose(splits, data.train_split, data.root)
    images = {ids.image for ids in training.ids}
    held = {image for image in images if _hash(image) < data.held_out}
    parts = [
        Subset(training, [at for at, ids in enumerate(training.ids) if (ids.image in held) == is_held])
        for is_held in (False, True)
    ]
    return {**splits, data.train_split: parts[0], HELD_OUT: parts[1]}


def _hash(name: str) -> float:
    """From 0 to below 1."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2**48


def _checked(data: StoredData, splits: Mapping[str, Reader], names: Sequence[str], issues: Issues) -> list[Reader]:
    """The splits of these names, without their broken records where these may be left out."""
    chosen = [choose(splits, split, data.root) for split in names]
    if data.labels == "pictures":
        chosen = [without_masks(reader) for reader in chosen]
    if data.labels == "none":
        chosen[0] = without_masks(chosen[0])
    if data.skip_broken or _is_own(data) or isinstance(chosen[0], JsonlDataset | LooseClips | CaptionedInstances):
        need_masks = data.labels == "masks"
        with ProgressBar("checking", sum(map(len, chosen)), quiet=not processes().is_main_process) as bar:
            chosen = [
                validate(reader, issues, bar.advance, look_at_images=data.skip_broken, need_masks=need_masks)
                for reader in chosen
            ]
    if not all(map(len, chosen)):
        reason = f"all records are broken: {issues.broken[0]}" if issues else "choose other splits."
        raise InputError(f"{data.root} has nothing to train on, or nothing to score; {reason}")
    if issues and processes().is_main_process:
        Console(stderr=True).print(issues.summary(), highlight=False, soft_wrap=True, markup=False)
    if data.mirrored:
        chosen[0] = Concat((chosen[0], Mirrored(chosen[0])))
    return chosen


def _is_own(data: StoredData) -> bool:
    return data.dataset is not None and ":" in data.dataset


def _own_splits(data: StoredData) -> Mapping[str, Reader]:
    """The splits that a function of the user's returns: `open_splits(root) -> {"train": reader, "val": reader}`."""
    open_splits: Any = imported(str(data.dataset), "my_package.my_file:open_splits")
    splits = open_splits(Path(data.root))
    if not isinstance(splits, Mapping) or not all(isinstance(reader, Reader) for reader in splits.values()):
        raise InputError(f"{data.dataset} returned no mapping from names of splits to readers; see docs/extending.md.")
    return splits


def _toyland(data: ToylandData, split: Literal["train", "val"]) -> Reader:
    """Over all subsets."""
    if split == "train":
        return _split(data, split, data.num_scenes, data.expression_options)
    options = data.expression_options if data.validate_absent else ExpressionOptions()
    return _split(data, split, data.validation_scenes, options)


def _split(data: ToylandData, split: Literal["train", "val"], num_scenes: int, options: ExpressionOptions) -> Reader:
    worlds = tuple(
        Toyland(
            split=split,
            subset=subset,
            content=data.content,
            style=data.style,
            num_scenes=num_scenes,
            size=data.size,
            sentences_per_object=data.sentences_per_object,
            expression_options=options,
            first_seed=FIRST_SEEDS[split] + data.skip_scenes,
            num_frames=data.num_frames,
            labelled_frames=data.labelled_frames,
        )
        for subset in data.subsets
    )
    if data.folder is None:
        return worlds[0] if len(worlds) == 1 else Concat(worlds)
    place = Path(data.folder) / split
    with processes().main_process_first():
        if not place.exists():
            quiet = not processes().is_main_process
            with ProgressBar(f"drawing {place}", num_scenes, quiet=quiet) as bar:
                pack(place, worlds, workers=data.packers, progress=bar.move_to)
    packed = PackedToyland(place, data.subsets)
    _check_drawn(place, packed, worlds[0])
    return SceneClasses(place) if data.labels == "classes" else packed


def _check_drawn(place: Path, packed: PackedToyland, world: Toyland) -> None:
    """Raises `InputError` where the folder's scenes or sentences were drawn with other settings than the world's."""
    sentences = packed.sentences_per_object or world.sentences_per_object  # older folders do not store it
    found = {
        "content": packed.content,
        "style": packed.style,
        "first_seed": packed.seed(0),
        "size": packed.size,
        "sentences_per_object": sentences,
        "num_frames": packed.num_frames,
        "labelled_frames": packed.labelled_frames,
        **vars(packed.expression_options),
    }
    expected = {
        "content": world.content,
        "style": world.style,
        "first_seed": world.seed(0),
        "size": world.size,
        "sentences_per_object": world.sentences_per_object,
        "num_frames": world.num_frames,
        "labelled_frames": world.labelled_frames,
        **vars(world.expression_options),
    }
    if differing := [name for name in expected if found[name] != expected[name]]:
        theirs, ours = (", ".join(f"{name}={_short(facts[name])}" for name in differing) for facts in (found, expected))
        raise InputError(
            f"{place} was drawn with {theirs}, but the run asks for {ours}; give another --data.packed, or remove that "
            "folder."
        )


def _short(fact: object) -> str:
    return f"{fact:g}" if isinstance(fact, float) else str(fact)
