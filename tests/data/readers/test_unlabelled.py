"""Training data without masks: where no labels are asked for, no mask is read, although the files have some."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deixis.data.batches import TrainBatches
from deixis.data.readers import phrasecut as phrasecut_reader
from deixis.data.readers import record_masks, referents
from deixis.data.readers.unlabelled import without_masks
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.records import Reader
from deixis.runs.data import StoredData
from deixis.runs.open_data import open_data
from deixis.text.tokenizer import Tokenizer
from deixis.toyland.export.phrasecut import write_phrasecut
from deixis.toyland.export.refcoco import write_refcoco
from deixis.toyland.export.trees import Tree
from deixis.toyland.world import Toyland

TREE = Tree(scenes={"train": 2, "val": 1}, size=48, objects_per_scene=2, sentences_per_object=1)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    write_refcoco(root / "refcocos", TREE)
    write_phrasecut(root / "phrasecut", TREE)
    return root


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads a mask raises."""

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("a mask was read")

    for module in (referents, phrasecut_reader, record_masks):
        monkeypatch.setattr(module, "as_rle", read)
    monkeypatch.setattr(record_masks, "read_mask_image", read)
    for name in ("decode", "encode", "from_polygons", "from_uncompressed", "union", "area"):
        monkeypatch.setattr(f"deixis.masks.{name}", read)


def own(root: Path, *, training: list[dict[str, Any]], validation: list[dict[str, Any]]) -> Path:
    root.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 10, 3), 40 * number, np.uint8)).save(root / f"{number}.png")
    for name, lines in (("train", training), ("val", validation)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def pair(number: int, **more: Any) -> dict[str, Any]:
    return {"image": f"{number}.png", "expression": f"number {number}", **more}


def batches_of(reader: Reader) -> TrainBatches:
    return TrainBatches(
        reader=reader,
        tokenizer=Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
        preprocess=Preprocess(image_size=32, max_tokens=8),
        batch_size=2,
        draw="sentence",
        labels="none",
    )


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    ("folder", "dataset", "split_by"),
    [
        ("refcocos", "refcoco", "unc"),
        ("refcocos", "refcoco+", "unc"),
        ("refcocos", "refcocog", "umd"),
        ("phrasecut", "phrasecut", None),
    ],
)
def test_no_mask_of_a_published_set_is_read(trees: Path, folder: str, dataset: str, split_by: str | None) -> None:
    data = StoredData(root=str(trees / folder), dataset=dataset, split_by=split_by, labels="none", draw="sentence")
    training, validation = open_data(data)
    stream = batches_of(training).stream(0, batches_of(training).steps_per_epoch)
    assert all(batch.masks is None for batch in stream)
    assert all(training[position].mask is None for position in range(len(training)))
    with pytest.raises(AssertionError, match="a mask was read"):
        _ = validation[0]


@pytest.mark.usefixtures("forbidden")
def test_no_mask_of_your_own_data_is_read(tmp_path: Path) -> None:
    masked = [pair(0, mask=[[0, 0, 4, 0, 4, 4]]), pair(1, mask="absent.png"), pair(2, mask="not a mask at all")]
    data = StoredData(root=str(own(tmp_path / "mine", training=masked, validation=[pair(0)])), labels="none")
    training, _ = open_data(data)
    assert [sample.mask for sample in training] == [None] * 3  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="a mask was read"):
        open_data(StoredData(root=data.root))


def test_a_reader_that_cannot_omit_masks_is_returned_as_it_is() -> None:
    reader = Toyland(num_scenes=1)
    assert without_masks(reader) is reader


def _lines(root: Path, lines: list[dict[str, Any]]) -> None:
    own(root, training=lines, validation=[pair(0)])


def _rows(root: Path, lines: list[dict[str, Any]]) -> None:
    own(root, training=[], validation=[])
    for name, rows in (("train", lines), ("val", [pair(0)])):
        (root / f"{name}.jsonl").unlink()
        with (root / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["image", "expression"])
            table.writeheader()
            table.writerows(rows)


@pytest.mark.parametrize(("write", "file", "first"), [(_lines, "train.jsonl", 1), (_rows, "train.csv", 2)])
def test_broken_pairs_are_named_by_file_and_line_or_counted(
    tmp_path: Path, write: Callable[..., None], file: str, first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the image is missing, or the sentence is empty."""
    broken = {
        "no_image": (pair(9), f"9.png is missing, but .*{file}, line {first + 1}"),
        "empty": (pair(1, expression=""), f"{file}, line {first + 1} has an empty 'expression'; expected a text"),
        "blank": (pair(1, expression="  "), f"{file}, line {first + 1} has an empty 'expression'; expected a text"),
    }
    for name, (line, sentence) in broken.items():
        write(tmp_path / name, [pair(0), line, pair(2)])
        data = StoredData(root=str(tmp_path / name), labels="none")
        with pytest.raises(InputError, match=sentence):
            open_data(data)
        training, _ = open_data(StoredData(root=data.root, labels="none", skip_broken=True))
        assert len(training) == 2
        assert "1 broken record was left out" in capsys.readouterr().err


def test_too_few_distinct_images_are_refused_with_both_numbers(tmp_path: Path) -> None:
    _lines(tmp_path / "mine", [pair(0), pair(1), pair(1)])
    training, _ = open_data(StoredData(root=str(tmp_path / "mine"), labels="none"))
    with pytest.raises(InputError, match="batch of 32 distinct images needs as many, but the data set has only 2"):
        TrainBatches(
            reader=training,
            tokenizer=Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
            preprocess=Preprocess(image_size=32, max_tokens=8),
            batch_size=32,
            draw="sentence",
            distinct_images=True,
            labels="none",
        )
