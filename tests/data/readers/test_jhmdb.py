"""J-HMDB-Sentences: the small tree's answers, and every trap of the format."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deixis.data.readers.formats import open_data, open_splits
from deixis.data.readers.jhmdb import LIST
from deixis.data.readers.mat_masks import read_puppet_masks
from deixis.data.validation import Issues, validate
from deixis.errors import InputError
from tests.data.readers.video_mini import ROOT, check_mask, expected, needs_trees, shown
from tests.data.video_writing import numbered

VIDEO = "A_(b)!_@x_+y__swing_baseball_f_nm_np1_ri_med_0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One video of six images and four masks."""
    root = tmp_path / "jhmdb_sentences"
    frames, mats = root / "Rename_Images" / "swing_baseball" / VIDEO, root / "puppet_mask" / "swing_baseball" / VIDEO
    frames.mkdir(parents=True)
    mats.mkdir(parents=True)
    for number in range(1, 7):
        Image.fromarray(numbered(number)).save(frames / f"{number:05d}.png")
    (frames / ".DS_Store").write_bytes(b"")
    masks = np.zeros((48, 64, 4), np.uint8)
    for frame in range(4):
        masks[: frame + 1, :3, frame] = 1
    savemat(mats / "puppet_mask.mat", {"part_mask": masks})
    write_list(root, [1, 3, 4])
    return root


def write_list(root: Path, frames: list[int]) -> None:
    base = f"./jhmdb_sentences/Rename_Images/swing_baseball/{VIDEO}"
    mat = f"./jhmdb_sentences/puppet_mask/swing_baseball/{VIDEO}/puppet_mask.mat"
    rows = [[VIDEO, f"{base}/{frame:05d}.png", mat, 4, " A man  hits a ball"] for frame in frames]
    (root / LIST).write_text(json.dumps(rows))


@needs_trees
def test_the_small_tree_is_read_as_expected() -> None:
    reader = open_data(ROOT / "jhmdb")
    found = {sample.ids.sentence: sample for sample in reader}
    samples = expected("jhmdb")["samples"]
    assert list(found) == [each["image_id"] for each in samples]
    for each in samples:
        sample = found[each["image_id"]]
        assert (sample.ids.image, sample.traits["action"]) == (each["video"], each["action"])
        assert (sample.traits["sentence"], sample.expression) == (each["sentence"], each["sentence_normalised"])
        assert sample.mask == each["rle"]
        check_mask(sample, each)
        assert sample.visual.num_frames == each["frames_with_mask"]
        assert shown(sample, 8) == each["clip_8_frames_1_based"]


def test_frames_come_from_the_list_and_end_with_the_masks(tree: Path) -> None:
    reader = open_data(tree)
    assert [(sample.frame, sample.traits["area"]) for sample in reader] == [(0, 3), (2, 9), (3, 12)]
    assert shown(reader[2], 8) == [1, 1, 2, 3, 4, 4, 4, 4]  # images 5 and 6 have no mask
    assert reader[0].expression == "a man hits a ball"
    assert list(open_splits(tree)) == ["test"]


def test_a_list_in_the_parent_folder_is_found(tree: Path) -> None:
    (tree / LIST).rename(tree.parent / LIST)
    (tree / "jhmdb_annotation.txt").write_text("video_id,query\n")
    assert len(open_data(tree)) == 3


def test_without_the_list_the_frames_cannot_be_known(tree: Path) -> None:
    (tree / LIST).unlink()
    (tree / "jhmdb_annotation.txt").write_text("video_id,query\n")
    with pytest.raises(InputError, match="its frames were drawn at random"):
        open_data(tree)


def write_version_7_3(path: Path) -> None:
    """As MATLAB does: HDF5 behind a header of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["part_mask"] = np.zeros((4, 64, 48), np.uint8)
    with path.open("r+b") as file:
        header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
        file.write(header)


def test_broken_mask_files_are_named(tree: Path) -> None:
    path = tree / "puppet_mask" / "swing_baseball" / VIDEO / "puppet_mask.mat"
    broken = tree / "broken.mat"
    write_version_7_3(broken)
    with pytest.raises(InputError, match=r"broken\.mat is of MATLAB's version 7\.3"):
        read_puppet_masks(broken)
    broken.write_bytes(path.read_bytes()[:140])
    with pytest.raises(InputError, match=r"broken\.mat is not a MATLAB file that can be read|has no variable"):
        read_puppet_masks(broken)
    savemat(broken, {"other": np.zeros(3)})
    with pytest.raises(InputError, match=r"broken\.mat has no variable 'part_mask'"):
        read_puppet_masks(broken)
    with pytest.raises(InputError, match=r"There is no file .*absent\.mat"):
        read_puppet_masks(tree / "absent.mat")


def test_broken_samples_are_named_or_skipped(tree: Path) -> None:
    rows = json.loads((tree / LIST).read_text())
    rows[0] = rows[0][:3]
    rows[1][1] = rows[1][1].replace("00003", "00005")
    (tree / LIST).write_text(json.dumps(rows))
    with pytest.raises(InputError, match="sample number 0 is"):
        open_data(tree)
    issues = Issues(skip=True)
    assert len(open_data(tree, issues=issues)) == 1
    assert "asks for frame 5 of" in issues.broken[1]


def test_masks_of_another_number_or_size_are_named(tree: Path) -> None:
    path = tree / "puppet_mask" / "swing_baseball" / VIDEO / "puppet_mask.mat"
    savemat(path, {"part_mask": np.ones((48, 64, 2), np.uint8)})
    issues = Issues(skip=True)
    assert len(validate(open_data(tree), issues)) == 1
    assert "has masks of 2 frames, but" in issues.broken[0]
    other = tree.parent / "other"
    shutil.copytree(tree, other)
    savemat(other / path.relative_to(tree), {"part_mask": np.ones((40, 64, 4), np.uint8)})
    with pytest.raises(InputError, match=r"masks of 40x64 pixels .* are 48x64"):
        validate(open_data(other), Issues())
