"""What is converted is read back unchanged; nothing half-written stays."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.data.images import ImageArray, ImageFile
from deixis.data.readers.formats import open_splits
from deixis.data.tools.conversion import Layout, convert
from deixis.data.validation import Issues
from deixis.errors import DeixisError
from deixis.masks import RLE
from deixis.records import Ids, Sample

LAYOUTS: tuple[Layout, ...] = ("jsonl", "coco")


class Listed:
    """A reader of samples that are there; those that are a sentence raise it."""

    def __init__(self, samples: Sequence[Sample | str]) -> None:
        self.samples = samples
        self.ids = tuple(s.ids if isinstance(s, Sample) else Ids("", "", "") for s in samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> Sample:
        sample = self.samples[position]
        if isinstance(sample, str):
            raise DeixisError(sample)
        return sample


def rle(*pixels: tuple[int, int]) -> RLE:
    mask = np.zeros((5, 7), dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    return cast(RLE, masks.encode(mask))


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    first, second = ImageFile(tmp_path / "one" / "a.png"), ImageFile(tmp_path / "two" / "a.png")

    def sample(visual: Any, text: str, mask: RLE | None, *ids: str, **traits: Any) -> Sample:
        return Sample(
            visual=visual, expression=text, mask=mask, ids=Ids(*ids), dataset="odd", split="val", traits=traits
        )

    return [
        sample(first, "the cup", rle((1, 1), (2, 3)), "i1", "o1", "s1", category="cup", count=np.int64(3)),
        sample(first, "it – “again”\n", rle((1, 1), (2, 3)), "i1", "o1", "s2", category="cup", count=3),
        sample(second, "nothing", rle(), "i2", "o2", "s3"),
        sample(second, "weak", None, "i2", "o3", "s4"),
        sample(ImageArray(pixels), "drawn", rle((0, 0)), "i3", "o4", "s5"),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_reader_comes_back_as_it_was(tmp_path: Path, samples: list[Sample], layout: Layout) -> None:
    out = tmp_path / "out"
    assert convert({"val": Listed(samples)}, out, layout) == 5
    reader = open_splits(out)["val"]
    assert sorted(reader.ids, key=lambda ids: ids.sentence) == [sample.ids for sample in samples]
    read = {reader.ids[k].sentence: reader[k] for k in range(len(reader))}
    for sample in samples:
        again = read[sample.ids.sentence]
        assert (again.expression, again.mask, again.dataset, again.split) == (
            sample.expression,
            sample.mask,
            sample.dataset,
            sample.split,
        )
        assert again.visual.size == sample.visual.size
        assert np.array_equal(again.visual.read(), sample.visual.read())
        area = {} if sample.mask is None else {"area": masks.area(sample.mask)}
        assert again.traits == {**sample.traits, **area}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twice_converted_is_once_converted(tmp_path: Path, samples: list[Sample], layout: Layout) -> None:
    convert({"val": Listed(samples)}, tmp_path / "once", layout)
    convert(open_splits(tmp_path / "once"), tmp_path / "twice", layout)
    name = "data.jsonl" if layout == "jsonl" else "data.json"
    once, twice = (
        [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()]
        for folder in ("once", "twice")
    )
    if layout == "jsonl":
        for one, two in zip(once, twice, strict=True):
            two["traits"].pop("area", None)
            assert one == two
    else:
        assert [a["captions"] for a in once[0]["annotations"]] == [a["captions"] for a in twice[0]["annotations"]]
        assert [a.get("segmentation") for a in once[0]["annotations"]] == [
            a.get("segmentation") for a in twice[0]["annotations"]
        ]


def test_images_are_linked_and_never_share_a_name(tmp_path: Path, samples: list[Sample]) -> None:
    convert({"val": Listed(samples)}, tmp_path / "out", "jsonl")
    names = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert names == ["a.png", "a_2.png", "i3.png"]
    assert os.path.samefile(tmp_path / "one" / "a.png", tmp_path / "out" / "images" / "a.png")
    assert not any(path.is_symlink() for path in (tmp_path / "out" / "images").iterdir())


def test_images_are_copied_where_links_are_impossible(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    convert({"val": Listed(samples)}, tmp_path / "out", "jsonl")
    copied = tmp_path / "out" / "images" / "a.png"
    assert copied.read_bytes() == (tmp_path / "one" / "a.png").read_bytes()
    assert not os.path.samefile(tmp_path / "one" / "a.png", copied)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_broken_record_leaves_nothing_behind(tmp_path: Path, samples: list[Sample], layout: Layout) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DeixisError, match="record 7 is broken"):
        convert({"val": Listed([*samples, "record 7 is broken"])}, tmp_path / "out", layout)
    assert sorted(tmp_path.iterdir()) == before
    issues = Issues(skip=True)
    assert convert({"val": Listed(["record 7 is broken", *samples])}, tmp_path / "out", layout, issues) == 5
    assert issues.broken == ["record 7 is broken"]


def test_what_is_there_is_not_written_over(tmp_path: Path, samples: list[Sample]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DeixisError, match="out holds something already"):
        convert({"val": Listed(samples)}, tmp_path / "out", "jsonl")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_split_that_is_part_of_another_is_converted_and_read_back(tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "phrasecut"
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (7, 5)).save(root / "images" / "1.jpg")
    tasks = [
        {"task_id": f"1__{n}", "image_id": 1, "phrase": "x", "Polygons": [[[[0, 0], [4, 0], [4, 4]]]]} for n in (0, 1)
    ]
    (root / "refer_val.json").write_text(json.dumps(tasks))
    (root / "refer_miniv.json").write_text(json.dumps(tasks[:1]))
    assert convert(open_splits(root), tmp_path / "out", layout) == 3
    again = open_splits(tmp_path / "out")
    assert {split: [ids.sentence for ids in reader.ids] for split, reader in again.items()} == {
        "val": ["1__0", "1__1"],
        "miniv": ["1__0"],
    }


def test_a_missing_image_is_named(tmp_path: Path, samples: list[Sample]) -> None:
    (tmp_path / "two" / "a.png").unlink()
    with pytest.raises(DeixisError, match=r"two/a\.png"):
        convert({"val": Listed(samples)}, tmp_path / "out", "jsonl")
