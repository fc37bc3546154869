"""Writing packed folders: by several processes at once, by several workers, and by processes that are killed."""

import os
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.errors import DeixisError
from deixis.toyland.export.packing import pack
from deixis.toyland.language.expressions import ExpressionOptions
from deixis.toyland.packed import BACKGROUND, PackedToyland
from deixis.toyland.render.drawing import instance_map
from deixis.toyland.world import Toyland


def world(num_scenes: int = 1, **options: Any) -> Toyland:
    few = {"objects_per_scene": 1, "sentences_per_object": 1}
    return Toyland(num_scenes=num_scenes, size=32, **few | options)


def test_of_processes_that_pack_at_once_the_first_to_finish_wins(tmp_path: Path) -> None:
    path = tmp_path / "train"

    def meanwhile(done: int) -> None:
        if done == 1:
            pack(path, [world(2)])

    pack(path, [world(1)], progress=meanwhile)
    reader, plain = PackedToyland(path), world(2)
    assert reader.num_scenes == 2
    assert reader.ids == plain.ids
    np.testing.assert_array_equal(reader.pixels(1), plain.drawn(1).image().pixels)
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_process_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "train", [world()], progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_only_folders_without_a_new_scene_for_a_day_are_removed(tmp_path: Path) -> None:
    parts = {hours: tmp_path / f".train.{hours}.part" for hours in (1, 30)}
    for hours, part in parts.items():
        part.mkdir()
        (part / "scenes.jsonl").touch()
        for place in (part / "scenes.jsonl", part):
            os.utime(place, (time.time() - hours * 3600,) * 2)
    os.utime(parts[1], (0, 0))  # the folder's own time does not change while its files grow
    (tmp_path / ".val.30.part").mkdir()
    os.utime(tmp_path / ".val.30.part", (0, 0))
    pack(tmp_path / "train", [world()])
    assert sorted(one.name for one in tmp_path.iterdir()) == [".train.1.part", ".val.30.part", "train"]


def test_no_array_is_open_when_the_folder_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, rename, open_memmap = [], os.replace, np.lib.format.open_memmap

    def noted(*arguments: Any, **options: Any) -> np.memmap:
        array = open_memmap(*arguments, **options)
        opened.append(weakref.ref(array))
        return array

    def renamed(*paths: Path) -> None:  # fails on systems that lock open files
        assert [array() for array in opened] == [None, None]
        rename(*paths)

    monkeypatch.setattr(np.lib.format, "open_memmap", noted)
    monkeypatch.setattr(os, "replace", renamed)
    pack(tmp_path / "train", [world()])
    assert PackedToyland(tmp_path / "train").num_scenes == 1


def test_two_workers_pack_what_one_packs(tmp_path: Path) -> None:
    worlds = [world(3), world(3, subset="toyland-g")]
    counts: list[int] = []
    pack(tmp_path / "one", worlds)
    pack(tmp_path / "two", worlds, workers=2, progress=counts.append)
    assert counts == [1, 2, 3]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_worlds_that_differ_in_more_than_wording_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    with pytest.raises(DeixisError, match="full exists already"):
        pack(tmp_path / "full", [world()])
    with pytest.raises(DeixisError, match="different scenes"):
        pack(tmp_path / "two", [world(split="train"), world(split="val")])
    with pytest.raises(DeixisError, match="differ in expression_options"):
        pack(tmp_path / "two", [world(), world(expression_options=ExpressionOptions(no_target=2.0))])
    with pytest.raises(DeixisError, match="differ in sentences_per_object"):
        pack(tmp_path / "two", [world(), world(subset="toyland-g", sentences_per_object=2)])


def test_an_instance_map_without_masks_is_background() -> None:
    assert (instance_map(np.zeros((0, 4, 4), dtype=bool)) == BACKGROUND).all()
