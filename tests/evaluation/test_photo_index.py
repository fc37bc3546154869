"""Expressions found by photo and text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.data.images import ImageArray, ImageFile
from deixis.errors import InputError
from deixis.evaluation.photo_index import PhotoIndex
from deixis.records import Ids, Sample


class Photos:
    """Expressions about photos, the last of which is not a file."""

    def __init__(self, folder: Path) -> None:
        pairs = (("one/a.png", "it"), ("two/a.png", "it"), ("two/b.png", "it"), ("one/a.png", " it "), (None, "it"))
        for name in {name for name, _ in pairs if name is not None}:
            (folder / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (2, 2)).save(folder / name)
        self.samples = [
            Sample(
                visual=ImageArray(np.zeros((2, 2, 3), np.uint8)) if name is None else ImageFile(folder / name),
                expression=expression,
                ids=Ids(image=f"{name}", object=f"{number}", sentence=f"{number}"),
                mask=None,
                dataset="photos",
                split="val",
            )
            for number, (name, expression) in enumerate(pairs)
        ]

    @property
    def ids(self) -> list[Ids]:
        return [sample.ids for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> Sample:
        return self.samples[position]


def test_all_expressions_of_one_text_about_one_photo_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    index = PhotoIndex(Photos(tmp_path))
    assert index.positions("one/a.png", "it") == [0, 3]
    assert index.positions(str(tmp_path / "two" / "a.png"), "it ") == [1]
    assert index.positions("one/../two/b.png", "it") == [2]
    assert index.positions("two/b.png", "that") == []


def test_a_path_of_another_machine_is_matched_by_its_name_where_one_photo_has_it(tmp_path: Path) -> None:
    index = PhotoIndex(Photos(tmp_path))
    assert index.positions("/elsewhere/b.png", "it") == [2]
    with pytest.raises(InputError, match=r"'/elsewhere/a\.png' is not one of this split"):
        index.positions("/elsewhere/a.png", "it")
    (tmp_path / "b.png").touch()
    with pytest.raises(InputError, match="is not one of this split"):  # another file, which exists here
        index.positions(str(tmp_path / "b.png"), "it")
