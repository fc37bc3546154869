"""Clips in the official layouts come back through the readers with the same sentences and masks."""

from pathlib import Path

import numpy as np

from deixis import masks
from deixis.data.readers import a2d, jhmdb, refer_youtube_vos
from deixis.records import Sample
from deixis.toyland.export.clip_trees import ACTORS, ClipTree, write_a2d, write_jhmdb, write_refer_youtube_vos
from deixis.toyland.motion.clip import DrawnClip
from deixis.toyland.world import FIRST_SEEDS

TREE = ClipTree(clips={"train": 1, "val": 1}, size=48, num_frames=8, content="park", objects_per_scene=4)


def _seed(video: str) -> int:
    return int("".join(filter(str.isdigit, video)))


def _clip(video: str) -> DrawnClip:
    return DrawnClip(seed=_seed(video), num_frames=TREE.num_frames, content=TREE.content, side=TREE.size)


def _written(video: str, split: str, sentences: int | None = None) -> tuple[Sample, ...]:
    """The Samples of the clip that a video was written from."""
    return TREE.world(split, sentences).scene(_seed(video) - FIRST_SEEDS[split])


def test_a2d_comes_back_with_actors_only(tmp_path: Path) -> None:
    write_a2d(tmp_path / "a2d", TREE)
    splits = a2d.every_split(tmp_path / "a2d")
    assert [len({ids.image for ids in splits[name].ids}) for name in ("train", "test")] == [1, 1]
    for split, name in (("train", "train"), ("val", "test")):
        for sample in splits[name]:
            clip, thing = _clip(sample.ids.image), int(sample.ids.object)
            (original,) = (
                one
                for one in _written(sample.ids.image, split, 1)
                if (one.traits["targets"], one.frame) == ([thing], sample.frame)
            )
            assert clip.scene().things[thing].kind in ACTORS
            assert sample.expression == original.expression
            np.testing.assert_array_equal(masks.decode(sample.mask), masks.decode(original.mask))
    read = sample.visual.read([sample.frame])[0].astype(int)
    errors = [np.abs(read - clip.read([frame])[0]).mean() for frame in range(TREE.num_frames)]
    assert int(np.argmin(errors)) == sample.frame  # the mask is that of the frame it is read with


def test_jhmdb_comes_back(tmp_path: Path) -> None:
    write_jhmdb(tmp_path / "jhmdb", TREE)
    split = jhmdb.every_split(tmp_path / "jhmdb")["test"]
    assert len(split) == 3
    for sample in split:
        clip = _clip(sample.ids.image)
        thing = next(one.traits["targets"][0] for one in _written(sample.ids.image, "val", 1)
                     if one.expression == sample.expression)  # fmt: skip
        np.testing.assert_array_equal(masks.decode(sample.mask), clip.instances(sample.frame) == thing)
        np.testing.assert_array_equal(sample.visual.read([sample.frame]), clip.read([sample.frame]))


def test_refer_youtube_vos_comes_back_and_hides_the_objects_of_valid(tmp_path: Path) -> None:
    write_refer_youtube_vos(tmp_path / "rvos", TREE)
    splits = refer_youtube_vos.every_split(tmp_path / "rvos", "refer-youtube-vos")
    for sample in splits["train"]:
        clip = _clip(sample.ids.image)
        thing = next(one.traits["targets"][0] for one in _written(sample.ids.image, "train")
                     if one.expression == sample.expression)  # fmt: skip
        np.testing.assert_array_equal(masks.decode(sample.mask), clip.instances(sample.frame) == thing)
    assert len({sample.frame for sample in splits["train"]}) == TREE.num_frames
    assert all(one.mask is None for one in splits["valid"])
    video = splits["valid"].ids[0].image
    assert {one.expression for one in splits["valid"]} == {one.expression for one in _written(video, "val")}
