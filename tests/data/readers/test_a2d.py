"""A2D-Sentences: the small tree's answers, and every trap of the format."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deixis.data.readers.formats import detect_format, open_splits
from deixis.data.readers.h5_masks import read_instances, read_mask
from deixis.data.validation import Issues, validate
from deixis.errors import InputError
from tests.data.readers.video_mini import ROOT, check_mask, expected, needs_trees, shown
from tests.data.video_writing import number_of, numbered, write_video


def write_h5(path: Path, instances: list[int], masks: np.ndarray, **others: Any) -> Path:
    """A file as MATLAB writes it: axes reversed, and no first axis for one instance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = masks.transpose(0, 2, 1).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file["instance"] = np.array(instances)
        file["reMask"] = stored[0] if len(stored) == 1 else stored
        for name, value in others.items():
            file[name] = value
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One clip of 12 frames with two instances, annotated at frames 3 and 9."""
    (tmp_path / "Release" / "clips320H").mkdir(parents=True)
    write_video(tmp_path / "Release" / "clips320H" / "-abcdefgh01.mp4", 12)
    (tmp_path / "Release" / "videoset.csv").write_text("-abcdefgh01,78,0,1,48,64,12,2,1\n")
    texts = tmp_path / "text_annotations"
    texts.mkdir()
    rows = ["video_id,instance_id,query,extra", "-abcdefgh01,5, The  DOG ,x", "-abcdefgh01,2,the cat,x"]
    (texts / "a2d_annotation.txt").write_text("\n".join(rows))
    folder = texts / "a2d_annotation_with_instances" / "-abcdefgh01"
    masks = np.zeros((2, 48, 64), dtype=bool)
    masks[0, :10, :7] = masks[1, 20:23, :2] = True
    write_h5(folder / "00003.h5", [5, 2], masks)
    write_h5(folder / "00009.h5", [2], masks[1:])
    return tmp_path


@needs_trees
def test_the_small_tree_is_read_as_expected() -> None:
    splits = open_splits(ROOT / "a2d")
    content = expected("a2d")
    assert {split: len(reader) for split, reader in splits.items()} == content["counts"]
    found = {sample.ids.sentence: sample for reader in splits.values() for sample in reader}
    assert set(found) == {each["image_id"] for each in content["samples"]}
    for each in content["samples"]:
        sample = found[each["image_id"]]
        assert (sample.split, sample.ids.image, sample.ids.object) == (
            each["split"],
            each["video"],
            str(each["instance"]),
        )
        assert (sample.traits["sentence"], sample.expression) == (each["sentence"], each["sentence_normalised"])
        assert sample.mask == each["rle"]
        check_mask(sample, each)
        assert sample.visual.num_frames == each["video_frames"]
        assert shown(sample, 8) == each["clip_8_frames_1_based"]
    notes = " ".join(splits["train"].notes)
    assert "1 row left out: the instance is not a number (-mDogWalk01, '1 (copy)')" in notes
    assert "1 row left out: a2d_missed_videos.txt lists the video" in notes
    assert "1 pair of a sentence and an annotated frame left out" in notes
    assert "clips320H" in notes


def test_one_instance_is_stored_in_two_axes_and_transposed(tmp_path: Path) -> None:
    masks = np.zeros((1, 6, 9), dtype=bool)
    masks[0, 1, 2:8] = True
    path = write_h5(tmp_path / "00001.h5", [4], masks)
    assert read_instances(path) == (4,)
    np.testing.assert_array_equal(read_mask(path, 0), masks[0])
    several = write_h5(tmp_path / "00002.h5", [4, 1], np.concatenate([masks, ~masks]))
    np.testing.assert_array_equal(read_mask(several, 1), ~masks[0])


def test_masks_belong_to_ids_by_position_and_frames_count_from_1(tree: Path) -> None:
    reader = open_splits(tree)["test"]
    areas = {sample.ids.sentence: sample.traits["area"] for sample in reader}
    # A frame whose only instance is another one gives no sample for the sentence.
    assert areas == {"v_-abcdefgh01_f_3_i_5": 70, "v_-abcdefgh01_f_3_i_2": 6, "v_-abcdefgh01_f_9_i_2": 6}
    sample = reader[0]
    assert sample.frame == 2
    assert number_of(sample.visual.read([sample.frame])[0]) == 2  # the third frame of a clip whose frames show 0, 1 …
    assert (sample.expression, sample.traits["sentence"]) == ("the dog", " The  DOG ")


def test_frames_in_folders_are_found_by_their_names(tree: Path) -> None:
    from PIL import Image

    folder = tree / "Release" / "pngs320H" / "-abcdefgh01"
    folder.mkdir(parents=True)
    for number in range(1, 13):
        Image.fromarray(numbered(number)).save(folder / f"{number:05d}.png")
    shutil.rmtree(tree / "Release" / "clips320H")
    sample = open_splits(tree)["test"][2]
    assert sample.ids.sentence == "v_-abcdefgh01_f_9_i_2"
    assert shown(sample, 8) == [5, 6, 7, 8, 9, 10, 11, 12]
    assert "pngs320H" in open_splits(tree)["test"].notes[0]


def test_text_files_inside_release_are_found(tree: Path) -> None:
    for path in (tree / "text_annotations").iterdir():
        path.rename(tree / "Release" / path.name)
    assert detect_format(tree) == "a2d"
    assert len(open_splits(tree)["test"]) == 3
    assert len(open_splits(tree / "Release")["test"]) == 3


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"reMask": None}, r"00003\.h5 has no data set 'reMask'; the names there are: instance"),
        ({"instance": None}, r"00003\.h5 has no data set 'instance'"),
        ({"text": None}, r"00003\.h5 is not an HDF5 file that can be read"),
        ({"size": None}, r"00003\.h5: its masks are 40x60 pixels .* are 48x64"),
        ({"fewer": None}, r"00003\.h5: 'reMask' has shape \(64, 48\), but mask 2 is needed"),
    ],
)
def test_broken_annotation_files_are_named_or_skipped(tree: Path, broken: dict[str, None], words: str) -> None:
    path = tree / "text_annotations" / "a2d_annotation_with_instances" / "-abcdefgh01" / "00003.h5"
    kind = next(iter(broken))
    if kind == "text":
        path.write_text("hello")
    elif kind == "size":
        write_h5(path, [5, 2], np.ones((2, 40, 60), dtype=bool))
    elif kind == "fewer":
        with h5py.File(path, "a") as file:
            masks = file["reMask"][0]
            del file["reMask"]
            file["reMask"] = masks
    else:
        with h5py.File(path, "a") as file:
            del file[kind]
    with pytest.raises(InputError, match=words):
        validate(open_splits(tree)["test"], Issues())
    issues = Issues(skip=True)
    kept = validate(open_splits(tree, issues=issues)["test"], issues)
    assert [ids.sentence for ids in kept.ids][-1:] == ["v_-abcdefgh01_f_9_i_2"]
    assert issues.broken


def test_a_mask_of_a_frame_that_does_not_exist_is_named(tree: Path) -> None:
    write_video(tree / "Release" / "clips320H" / "-abcdefgh01.mp4", 5)
    issues = Issues(skip=True)
    kept = validate(open_splits(tree, issues=issues)["test"], issues)
    assert len(kept) == 2
    assert "00009.h5 is the mask of frame 9, but" in issues.broken[0]
    assert issues.broken[0].endswith("-abcdefgh01.mp4 has 5 frames.")


def test_a_clip_that_cannot_be_decoded_is_named(tree: Path) -> None:
    (tree / "Release" / "clips320H" / "-abcdefgh01.mp4").write_text("hello")
    issues = Issues(skip=True)
    assert len(validate(open_splits(tree, issues=issues)["test"], issues)) == 0
    assert "-abcdefgh01.mp4 is not a video that PyAV can read" in issues.broken[0]


def test_a_missing_part_is_named(tree: Path) -> None:
    (tree / "Release" / "videoset.csv").unlink()
    with pytest.raises(InputError, match=r"lacks videoset\.csv; download A2D-Sentences as"):
        open_splits(tree)
