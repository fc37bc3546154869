"""Folders of packed scenes: drawn by several runs at once, left behind by runs that were killed, and what they tell."""

import json
import os
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.errors import DeixisError
from deixis.toyland.packed import PackedToyland, pack
from deixis.toyland.world import Toyland


def world(num_scenes: int = 1, **options: Any) -> Toyland:
    few = {"objects_per_scene": 1, "sentences_per_object": 1}
    return Toyland(num_scenes=num_scenes, size=32, **few | options)


def test_of_runs_that_pack_at_once_the_first_to_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "train"

    def meanwhile(done: int) -> None:
        if done == 1:
            pack(path, [world(2)])

    pack(path, [world(1)], progress=meanwhile)
    reader, plain = PackedToyland(path), world(2)
    assert reader.num_scenes == 2
    assert reader.ids == plain.ids
    np.testing.assert_array_equal(reader.pixels(1), plain.drawn(1).picture().pixels)
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "train", [world()], progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_only_what_nobody_has_written_to_for_a_day_is_cleared_away(tmp_path: Path) -> None:
    parts = {hours: tmp_path / f".train.{hours}.part" for hours in (1, 30)}
    for hours, part in parts.items():
        part.mkdir()
        (part / "scenes.jsonl").touch()
        for place in (part / "scenes.jsonl", part):
            os.utime(place, (time.time() - hours * 3600,) * 2)
    os.utime(parts[1], (0, 0))  # a folder's own time stands still while its files grow
    (tmp_path / ".val.30.part").mkdir()
    os.utime(tmp_path / ".val.30.part", (0, 0))
    pack(tmp_path / "train", [world()])
    assert sorted(one.name for one in tmp_path.iterdir()) == [".train.1.part", ".val.30.part", "train"]


def test_no_array_is_open_when_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, rename, open_memmap = [], os.replace, np.lib.format.open_memmap

    def noted(*arguments: Any, **options: Any) -> np.memmap:
        array = open_memmap(*arguments, **options)
        opened.append(weakref.ref(array))
        return array

    def renamed(*paths: Path) -> None:  # systems that lock open files would refuse
        assert [array() for array in opened] == [None, None]
        rename(*paths)

    monkeypatch.setattr(np.lib.format, "open_memmap", noted)
    monkeypatch.setattr(os, "replace", renamed)
    pack(tmp_path / "train", [world()])
    assert PackedToyland(tmp_path / "train").num_scenes == 1


def test_size_and_sentences_are_told(tmp_path: Path) -> None:
    pack(tmp_path / "train", [world()])
    packed = PackedToyland(tmp_path / "train")
    assert (packed.size, packed.sentences_per_object) == (32, 1)
    described = {name: value for name, value in packed.described.items() if name != "sentences_per_object"}
    (tmp_path / "train" / "registers.json").write_text(json.dumps(described))
    older = PackedToyland(tmp_path / "train")
    assert (older.size, older.sentences_per_object) == (32, None)
    with pytest.raises(DeixisError, match="same extras and sentences_per_object"):
        pack(tmp_path / "mixed", [world(), world(register="toyland-g", sentences_per_object=2)])
