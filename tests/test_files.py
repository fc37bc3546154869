"""Files and folders appear complete or not at all."""

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deixis.errors import InputError
from deixis.files import complete_or_absent, replaced


def test_a_file_is_the_old_one_until_the_new_one_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "new folder" / "card.json"
    with replaced(place) as beside:
        beside.write_text("first")
        assert not place.exists()
    with replaced(place) as beside:
        assert beside.read_text() == ""
        beside.write_text("second")
        assert place.read_text() == "first"
    assert place.read_text() == "second"
    assert list(place.parent.iterdir()) == [place]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "card.json"
    place.write_text("old")

    def stop(path: Path) -> None:
        path.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replaced(place) as beside:
        stop(beside)
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_the_rest_of_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    with replaced(tmp_path / "state.pt") as beside:
        left = beside
    left.write_text("half of something longer")
    with replaced(tmp_path / "state.pt") as beside:
        beside.write_text("complete")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"state.pt": "complete"}


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "card.json"
    place.mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)) as caught, replaced(place) as beside:
        beside.write_text("{}")
    assert caught.value.filename == str(place)
    assert list(tmp_path.iterdir()) == [place]


def test_weights_are_as_readable_as_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with replaced(tmp_path / "weights") as beside:
        save_file({"one": torch.ones(1)}, beside)
    other, weights = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "weights"))
    assert weights == other


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "trees" / "refcoco"
    place.mkdir(parents=True)  # empty: nothing is lost
    with complete_or_absent(place) as folder:
        (folder / "refs.p").write_text("refs")
        assert list(place.iterdir()) == []
    assert [path.name for path in place.iterdir()] == ["refs.p"]
    assert list(place.parent.iterdir()) == [place]


def test_a_folder_that_failed_is_absent(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), complete_or_absent(tmp_path / "tree") as folder:
        folder.write_text("refs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", [True, False])
def test_existing_files_are_never_replaced_by_a_folder(tmp_path: Path, inside: bool) -> None:
    place = tmp_path / "tree"
    there = place / "mine" if inside else place
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    refused = pytest.raises(InputError, match="tree holds something already; give a new or an empty folder")
    with refused, complete_or_absent(place):
        raise AssertionError
    assert there.read_text() == "mine"


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "tree"
    place.mkdir()
    with pytest.raises(InputError, match="holds something already"), complete_or_absent(place):
        (place / "refs.p").write_text("mine")
    assert (place / "refs.p").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_a_folder_still_leads_to_it_afterwards(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.mkdir()
    link.symlink_to(target)
    with complete_or_absent(link) as folder:
        (folder / "refs.p").write_text("refs")
    assert link.is_symlink()
    assert (target / "refs.p").read_text() == "refs"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_broken_link_is_refused_before_the_work(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(InputError, match="holds something already"), complete_or_absent(link):
        raise AssertionError


@pytest.mark.parametrize("name", [".", "../here"])
def test_the_working_directory_is_filled_and_stays(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    number = here.stat().st_ino
    with complete_or_absent(Path(name)) as folder:
        (folder / "refs.p").write_text("refs")
        (folder / "images").mkdir()
    assert sorted(path.name for path in Path().iterdir()) == ["images", "refs.p"]
    assert here.stat().st_ino == number
    assert list(tmp_path.iterdir()) == [here]


def test_a_mount_point_is_filled_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == place)
    number = place.stat().st_ino
    with pytest.raises(IsADirectoryError), complete_or_absent(place) as folder:
        folder.write_text("refs")
    assert list(place.iterdir()) == []
    with complete_or_absent(place) as folder:
        (folder / "refs.p").write_text("refs")
        assert not (place / "refs.p").exists()
    assert [path.name for path in place.iterdir()] == ["refs.p"]
    assert place.stat().st_ino == number


def test_contents_that_cannot_all_be_moved_are_not_moved_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replace, moves = os.replace, []

    def stop_at_the_second(source: Path, target: Path) -> None:
        moves.append(source)
        if len(moves) == 2:
            raise OSError("no more")
        replace(source, target)

    def write_two(folder: Path) -> None:
        (folder / "refs.p").write_text("refs")
        (folder / "instances.json").write_text("{}")

    monkeypatch.setattr(os, "replace", stop_at_the_second)
    with pytest.raises(OSError, match="no more"), complete_or_absent(Path()) as folder:
        write_two(folder)
    assert list(tmp_path.iterdir()) == []
