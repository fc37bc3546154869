"""Scenes as a data set of dense classes."""

from pathlib import Path

import numpy as np
import pytest

from deixis.records import Reader
from deixis.toyland.export.packing import pack
from deixis.toyland.packed import BACKGROUND, PackedToyland
from deixis.toyland.scene_classes import ATTRIBUTES, SceneClasses
from deixis.toyland.world import Toyland


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "val"
    pack(folder, [Toyland(split="val", num_scenes=3, size=64, sentences_per_object=1)])
    return folder


def test_every_pixel_has_the_classes_of_the_thing_seen_there(packed: Path) -> None:
    scenes, reader = PackedToyland(packed), SceneClasses(packed)
    for position in range(3):
        things, owner = scenes.things(position), scenes.instances(position)
        targets = reader[position].targets
        assert list(targets) == ["kind", "colour", "size", "pattern"]
        for name, values in ATTRIBUTES.items():
            assert targets[name].dtype == np.uint8
            assert targets[name].shape == (64, 64)
            assert targets[name].any()
            for y, x in np.ndindex(64, 64):
                index = int(owner[y, x])
                assert targets[name][y, x] == (0 if index == BACKGROUND else 1 + values.index(things[index][name]))


def test_a_clip_has_classes_on_its_middle_frame(tmp_path: Path) -> None:
    folder = tmp_path / "val"
    pack(folder, [Toyland(split="val", num_scenes=1, size=48, sentences_per_object=1, num_frames=9)])
    scenes, sample = PackedToyland(folder), SceneClasses(folder)[0]
    assert (sample.frame, sample.visual.num_frames) == (4, 9)
    np.testing.assert_array_equal(sample.targets["kind"] > 0, scenes.instances(0, 4) != BACKGROUND)
    assert not np.array_equal(scenes.instances(0, 4), scenes.instances(0, 0))


def test_a_scene_is_one_sample_without_expression_and_mask(packed: Path) -> None:
    reader = SceneClasses(packed)
    assert isinstance(reader, Reader)
    assert len(reader) == 3
    assert len(set(reader.ids)) == 3
    assert [ids.image for ids in reader.ids] == [str(1_000_000_000 + position) for position in range(3)]
    for position, ids in enumerate(reader.ids):
        sample = reader[position]
        assert (sample.ids, sample.expression, sample.mask, sample.split) == (ids, "", None, "val")
        np.testing.assert_array_equal(sample.visual.read()[0], PackedToyland(packed).pixels(position))
    with pytest.raises(IndexError, match="Scene 3 does not exist"):
        reader[3]
