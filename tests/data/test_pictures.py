"""Pictures: one sample for each image, without what a person would have had to write or to draw."""

from deixis.data.pictures import Pictures
from deixis.toyland.world import Toyland


def test_each_image_is_there_once_and_alone() -> None:
    world = Toyland(split="val", subset="toyland", num_scenes=2, size=32)
    pictures = Pictures(world)
    assert len(pictures) == len(pictures.ids) == 2
    assert [ids.image for ids in pictures.ids] == list(dict.fromkeys(ids.image for ids in world.ids))
    for position in range(2):
        sample = pictures[position]
        assert (sample.expression, sample.mask, dict(sample.targets), dict(sample.traits)) == ("", None, {}, {})
        assert sample.visual.read().shape == (1, 32, 32, 3)
