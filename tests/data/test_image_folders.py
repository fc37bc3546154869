"""Which files of a folder are images."""

from pathlib import Path

import pytest
from PIL import Image

from deixis.data.image_folders import IMAGE_SUFFIXES, find_images, is_image_name
from deixis.data.images import FORMATS


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_every_suffix_of_the_formats_that_are_read_is_an_images() -> None:
    Image.init()
    ours = {suffix for suffix, kind in Image.EXTENSION.items() if kind in {*FORMATS, "MPO"}}
    assert ours <= IMAGE_SUFFIXES | {".icns"}
    assert {".heic", ".heif", ".avif"} <= IMAGE_SUFFIXES


@pytest.mark.parametrize("kind", ["EPS", "WMF", "PSD", "PDF", "FPX", "MIC"])
def test_no_suffix_of_another_format_is(kind: str) -> None:
    Image.init()
    assert not {suffix for suffix, its in Image.EXTENSION.items() if its == kind} & IMAGE_SUFFIXES


@pytest.mark.parametrize("name", ["a.JPG", "b.jfif", "c.jpe", "d.tif", "e.mpo", "f.heic", "g.webp", "h.avif", "i.Pgm"])
def test_a_name_that_ends_as_an_image_is_one(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", [".a.jpg", "._a.jpg", "a.eps", "a.txt", "jpg", ".jpg", "a.jpg.json", "a.pdf"])
def test_other_names_are_not(name: str) -> None:
    assert not is_image_name(name)


def test_a_folder_is_listed_in_order_and_the_rest_is_counted(tmp_path: Path) -> None:
    put(tmp_path, "b.jfif", "a.JPG", "._a.jpg", ".DS_Store", "notes.txt", "x.txt", "README", "old/c.png", ".git/d.png")
    found = find_images(tmp_path)
    assert [path.name for path in found.images] == ["a.JPG", "b.jfif"]
    assert found.summary() == "Passed over: 1 without suffix, 2 .txt, 1 folder."
    deep = find_images(tmp_path, recursive=True)
    assert [path.relative_to(tmp_path).as_posix() for path in deep.images] == ["a.JPG", "b.jfif", "old/c.png"]
    assert deep.summary() == "Passed over: 1 without suffix, 2 .txt."
    assert find_images(tmp_path / "old").summary() == ""
