"""Files that records name, as other systems and tools write their names."""

import unicodedata
from pathlib import Path

import pytest

from deixis.data.readers.named_files import SearchFolders
from deixis.errors import DeixisError

NFC, NFD = (unicodedata.normalize(form, "café naïve.jpg") for form in ("NFC", "NFD"))


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ("images/a.jpg", "images/a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("images/sub/a.jpg", "sub\\a.jpg"),
        ("images/sub/a.jpg", "images\\sub\\a.jpg"),
        ("images/sub/a.jpg", ".\\images\\sub\\a.jpg"),
        ("images/my photo.jpg", "my%20photo.jpg"),
        ("images/sub/my photo.jpg", "images%2Fsub%2Fmy%20photo.jpg"),
        ("images/sub/my photo.jpg", "images%5Csub%5Cmy%20photo.jpg"),
        (f"images/{NFC}", NFD),
        (f"images/{NFD}", NFC),
        (f"images/{NFC}", "cafe%CC%81%20nai%CC%88ve.jpg"),
        ("train2017/a.jpg", "a.jpg"),
        ("images/a.jpg", "mine/images/a.jpg"),
        ("a.jpg", "mine/a.jpg"),
        ("train2017/a.jpg", "images/train2017/a.jpg"),
        ("images/a.jpg", "train2017/a.jpg"),
        ("images/50%25.jpg", "50%25.jpg"),
    ],
)
def test_a_name_is_found_as_other_systems_write_it(tmp_path: Path, there: str, named: str) -> None:
    root = put(tmp_path / "mine", there)
    folders = SearchFolders(root, ("", "images", "train2017", "images/train2017"))
    assert folders.find(named, "line 1").samefile(root / there)


def test_the_name_as_written_comes_first(tmp_path: Path) -> None:
    root = put(tmp_path / "mine", "a%20b.jpg", "a b.jpg", "images/a b.jpg")
    assert SearchFolders(root).find("a%20b.jpg", "line 1") == root / "a%20b.jpg"
    assert SearchFolders(root).find("a b.jpg", "line 1") == root / "a b.jpg"


@pytest.mark.parametrize(
    "named",
    ["../outside.jpg", "..\\outside.jpg", "images/../../outside.jpg", "%2E%2E/outside.jpg", "C:\\a.jpg", "/a.jpg"],
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, named: str) -> None:
    root = put(tmp_path / "mine", "images/a.jpg")
    put(tmp_path, "outside.jpg")
    with pytest.raises(
        DeixisError, match=r"line 1 names .*, which leaves .*mine; only files under it|is missing, but line 1"
    ):
        SearchFolders(root).find(named, "line 1")


def test_absolute_names_and_links_may_leave_only_where_that_is_allowed(tmp_path: Path) -> None:
    root = put(tmp_path / "mine", "images/a.jpg")
    outside = put(tmp_path, "outside.jpg") / "outside.jpg"
    (root / "link.jpg").symlink_to(outside)
    strict, free = SearchFolders(root), SearchFolders(root, allow_outside=True)
    assert strict.find(f"{root.absolute()}/images/a.jpg", "line 1").samefile(root / "images/a.jpg")
    with pytest.raises(DeixisError, match=r"names 'link\.jpg', a link that leaves"):
        strict.find("link.jpg", "line 1")
    for name in ("link.jpg", str(outside), "../outside.jpg"):
        assert free.find(name, "line 1").samefile(outside)


@pytest.mark.parametrize(
    ("there", "named", "difference"),
    [
        ("images/Photo.JPG", "photo.jpg", "'Photo.JPG', which differs in upper and lower case"),
        ("images/сat.jpg", "cat.jpg", "whose character 1 is CYRILLIC SMALL LETTER ES instead of LATIN SMALL LETTER C"),
        ("images/a–b.jpg", "a-b.jpg", "whose character 2 is EN DASH instead of HYPHEN-MINUS"),
        ("images/cup .jpg", "cup.jpg", "whose character 4 is SPACE instead of FULL STOP"),
        ("images/cup.jpg\u200b", "cup.jpg", "which is with a ZERO WIDTH SPACE at the end"),
        ("images/img_01.jpg", "img_O1.jpg", "whose character 5 is DIGIT ZERO instead of LATIN CAPITAL LETTER O"),
        ("images/photo_17.png", "photo_17.jpg", "the nearest name there is 'photo_17.png'; put"),
    ],
)
def test_a_missing_file_shows_the_nearest_name_and_how_it_differs(
    tmp_path: Path, there: str, named: str, difference: str
) -> None:
    root = put(tmp_path / "mine", there, "images/other.txt")
    with pytest.raises(DeixisError, match="is missing, but line 1 names it; the nearest name there is") as error:
        SearchFolders(root).find(named, "line 1")
    assert difference in str(error.value)


def test_a_missing_file_without_a_near_name_is_one_sentence(tmp_path: Path) -> None:
    root = put(tmp_path / "mine", "images/other.txt")
    with pytest.raises(DeixisError, match=r"images.cup\.jpg is missing, but line 1 names it; put the file there\.$"):
        SearchFolders(root, ("images", "")).find("cup.jpg", "line 1")


@pytest.mark.parametrize("address", ["https://a.b/c.jpg", "http://a.b/c.jpg", "s3://bucket/c.jpg", "file:///c.jpg"])
def test_an_address_is_named_as_one(tmp_path: Path, address: str) -> None:
    with pytest.raises(DeixisError, match=r"line 1 names the address '.*'; download the file and name the copy"):
        SearchFolders(tmp_path).find(address, "line 1")


@pytest.mark.parametrize(("name", "kind"), [(5, "int"), (None, "NoneType"), (["a.jpg"], "list"), ("", "str")])
def test_what_is_not_a_name_is_refused(tmp_path: Path, name: object, kind: str) -> None:
    with pytest.raises(DeixisError, match=f"line 1 names no file: found {kind}, expected a text"):
        SearchFolders(tmp_path).find(name, "line 1")
