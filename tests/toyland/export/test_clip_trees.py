"""Clips in the official layouts come back through the readers with the same sentences and masks."""

from pathlib import Path

import numpy as np
import pytest

from deixis import masks
from deixis.data.readers import a2d, jhmdb, refer_youtube_vos
from deixis.errors import InputError
from deixis.toyland.export.clip_trees import ACTORS, ClipTree, write_a2d, write_jhmdb, write_refer_youtube_vos
from deixis.toyland.motion.clip import DrawnClip

TREE = ClipTree(clips={"train": 2, "val": 1}, size=48, num_frames=8, content="park", objects_per_scene=4)


def _clip(video: str) -> DrawnClip:
    seed = int("".join(filter(str.isdigit, video)))
    return DrawnClip(seed=seed, num_frames=TREE.num_frames, content=TREE.content, side=TREE.size)


def test_a2d_comes_back_with_actors_only(tmp_path: Path) -> None:
    write_a2d(tmp_path / "a2d", TREE)
    splits = a2d.every_split(tmp_path / "a2d")
    assert len({ids.image for ids in splits["train"].ids}) == 2
    worlds = {"train": TREE.world("train", 1), "test": TREE.world("val", 1)}
    for name, split in splits.items():
        written = {
            (sample.ids.image, str(sample.traits["targets"][0]), sample.frame): sample
            for samples in worlds[name].scenes()
            for sample in samples
        }
        assert len(split)
        for sample in split:
            clip = _clip(sample.ids.image)
            seed, thing = str(clip.seed), sample.ids.object
            original = written[seed, thing, sample.frame]
            assert clip.scene().things[int(thing)].kind in ACTORS
            assert sample.expression == original.expression
            np.testing.assert_array_equal(masks.decode(sample.mask), masks.decode(original.mask))
            difference = sample.visual.read([sample.frame])[0].astype(int) - original.visual.read([sample.frame])[0]
            assert np.abs(difference).mean() < 12  # another frame, or no frame, differs by more only where things move


def test_a2d_frames_are_those_of_the_masks(tmp_path: Path) -> None:
    write_a2d(tmp_path / "a2d", TREE)
    sample = a2d.every_split(tmp_path / "a2d")["train"][0]
    clip, frames = _clip(sample.ids.image), range(TREE.num_frames)
    read = sample.visual.read([sample.frame])[0].astype(int)
    errors = [np.abs(read - clip.read([frame])[0]).mean() for frame in frames]
    assert int(np.argmin(errors)) == sample.frame


def test_jhmdb_comes_back(tmp_path: Path) -> None:
    write_jhmdb(tmp_path / "jhmdb", TREE)
    split = jhmdb.every_split(tmp_path / "jhmdb")["test"]
    assert len(split) == 3
    world = TREE.world("val", 1, 3)
    written = {(sample.ids.image, sample.expression): sample for samples in world.scenes() for sample in samples}
    for sample in split:
        clip = _clip(sample.ids.image)
        (thing,) = written[str(clip.seed), sample.expression].traits["targets"]
        np.testing.assert_array_equal(masks.decode(sample.mask), clip.instances(sample.frame) == thing)
        np.testing.assert_array_equal(sample.visual.read([sample.frame]), clip.read([sample.frame]))


def test_refer_youtube_vos_comes_back_and_hides_the_objects_of_valid(tmp_path: Path) -> None:
    write_refer_youtube_vos(tmp_path / "rvos", TREE)
    splits = refer_youtube_vos.every_split(tmp_path / "rvos", "refer-youtube-vos")
    written = {
        (sample.ids.image, sample.expression): sample.traits["targets"][0]
        for split in ("train", "val")
        for samples in TREE.world(split).scenes()
        for sample in samples
    }
    for sample in splits["train"]:
        clip = _clip(sample.ids.image)
        thing = written[str(clip.seed), sample.expression]
        np.testing.assert_array_equal(masks.decode(sample.mask), clip.instances(sample.frame) == thing)
    assert len({sample.frame for sample in splits["train"]}) == TREE.num_frames
    assert all((str(_clip(one.ids.image).seed), one.expression) in written for one in splits["valid"])
    assert all(one.mask is None for one in splits["valid"])


def test_a_content_without_people_cannot_be_jhmdb(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Only .* clips of val"):
        write_jhmdb(tmp_path / "jhmdb", ClipTree(clips={"val": 2}, size=32, num_frames=8, content="kitchen"))
