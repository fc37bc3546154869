"""Ref-DAVIS17 as published: the small tree's answers, and every trap of the texts."""

import shutil
from pathlib import Path

import pytest

from deixis.data.readers.formats import detect_format, open_splits
from deixis.data.validation import Issues
from deixis.errors import InputError
from tests.data.readers.video_mini import ROOT, check_frames, expected, needs_trees

pytestmark = needs_trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("DAVIS", "davis_text_annotations"):
        shutil.copytree(ROOT / "ref_davis" / name, tmp_path / name)
    return tmp_path


def test_the_small_tree_is_read_as_expected(tree: Path) -> None:
    assert detect_format(tree) == "ref-davis"
    content = expected("ref_davis")["samples"]
    found = check_frames(open_splits(tree), content)
    for each in content:
        sample = found[each["id"]][0]
        assert (sample.traits["annotator"], sample.ids.object) == (each["annotator"], str(each["object_id"]))


def test_texts_beside_or_inside_davis_and_davis_itself_are_found(tree: Path) -> None:
    (tree / "davis_text_annotations").rename(tree / "DAVIS" / "davis_text_annotations")
    assert len(open_splits(tree)["valid"].expressions) == 20
    assert len(open_splits(tree / "DAVIS")["valid"].expressions) == 20


def test_broken_lines_are_named_or_skipped(tree: Path) -> None:
    file = tree / "davis_text_annotations" / "Davis17_annot1.txt"
    with file.open("a") as stream:
        stream.write('blackswan one "a swan"\nblackswan 1 "again"\n')
    with pytest.raises(InputError, match=r"Davis17_annot1\.txt, line 7, is .*; expected: video object"):
        open_splits(tree)
    issues = Issues(skip=True)
    assert len(open_splits(tree, issues=issues)["valid"].expressions) == 20
    assert "line 8, describes object 1 of blackswan again" in issues.broken[1]


def test_a_gap_in_the_frames_is_named_or_skipped(tree: Path) -> None:
    (tree / "DAVIS" / "JPEGImages" / "480p" / "blackswan" / "00003.jpg").unlink()
    with pytest.raises(InputError, match=r"blackswan has a gap: after 00002\.jpg comes 00004\.jpg"):
        open_splits(tree)
    issues = Issues(skip=True)
    assert len(open_splits(tree, issues=issues)["valid"].expressions) == 16
    assert len(issues) == 4


def test_missing_parts_are_named(tree: Path) -> None:
    (tree / "davis_text_annotations" / "Davis17_annot2.txt").unlink()
    with pytest.raises(InputError, match=r"Davis17_annot2\.txt cannot be read"):
        open_splits(tree)
    shutil.rmtree(tree / "DAVIS" / "JPEGImages")
    with pytest.raises(InputError, match="lacks DAVIS/JPEGImages/480p; download DAVIS 2017"):
        open_splits(tree)
