"""Pictures: pure, exact and in depth order, whatever the style."""

import numpy as np

from deixis.toyland.drawing import draw
from deixis.toyland.sampling import sample_scene


def test_the_same_scene_gives_the_same_bytes() -> None:
    scene = sample_scene(3)
    first, second = draw(scene), draw(sample_scene(3))
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert np.array_equal(first.masks, second.masks)
    assert first.visible == second.visible


def test_masks_are_disjoint() -> None:
    for seed in range(4):
        picture = draw(sample_scene(seed))
        assert picture.masks.sum(axis=0).max() == 1
        assert all(0 <= share <= 1 for share in picture.visible)
