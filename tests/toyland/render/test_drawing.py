"""Drawn images: pure, exact and in depth order, in every style."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deixis.toyland.render.drawing import draw, paint_patch
from deixis.toyland.render.pen import PAINTS
from deixis.toyland.scene.domains import STYLES
from deixis.toyland.scene.sampling import sample_scene
from deixis.toyland.scene.scenes import Scene, Setting, Thing

SIDE = 96
# The first digits of the SHA-256 of pixels and masks, by seed, style and size, with Pillow 13.
DIGESTS = {
    (0, "painted", 256): "829d44510afe9c2d",
    (1, "sketch", 128): "39cd3dcba6aa7c34",
    (2, "night", 96): "4492bf783ae27df8",
    (3, "photo", 128): "bb122ca5205c0b90",
    (1000000000, "blueprint", 128): "482ca5b9d0f8c43e",
}


def thing(kind: str = "cube", **changes: Any) -> Thing:
    plain = Thing(kind=kind, colour="red", size="medium", x=0.5, y=0.9, scale=0.4, depth=0.5)
    return replace(plain, **changes)


def scene(*things: Thing, seed: int = 7, setting: Setting = "meadow") -> Scene:
    return Scene(seed=seed, setting=setting, things=things)


def test_a_scene_gives_the_same_bytes_after_other_scenes() -> None:
    first = draw(sample_scene(3), size=SIDE)
    draw(sample_scene(4), STYLES["night"], size=64)
    second = draw(sample_scene(3), size=SIDE)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert np.array_equal(first.masks, second.masks)
    assert first.visible == second.visible
    assert draw(sample_scene(5), size=SIDE).pixels.tobytes() != first.pixels.tobytes()


@pytest.mark.skipif(not PIL.__version__.startswith("13."), reason="another Pillow may fill other pixels of a polygon")
@pytest.mark.parametrize("drawn", DIGESTS)
def test_a_seed_gives_the_bytes_of_other_machines(drawn: tuple[int, str, int]) -> None:
    seed, style, size = drawn
    image = draw(sample_scene(seed), STYLES[style], size)
    digest = hashlib.sha256(image.pixels.tobytes() + image.masks.tobytes()).hexdigest()
    assert digest[:16] == DIGESTS[drawn]


def test_a_mask_is_a_thing_drawn_alone_minus_nearer_things() -> None:
    for seed in range(3):
        sampled = sample_scene(seed)
        image = draw(sampled, size=SIDE)
        covered = np.zeros((SIDE, SIDE), dtype=bool)
        for index in reversed(range(len(sampled.things))):
            alone = draw(replace(sampled, things=(sampled.things[index],)), size=SIDE).masks[0]
            assert np.array_equal(image.masks[index], alone & ~covered)
            covered |= alone
        assert image.masks.sum(axis=0).max() == 1


def test_a_nearer_thing_hides_a_farther_one_and_its_visible_fraction_is_exact() -> None:
    far, near = thing(x=0.4, depth=0.4), thing(x=0.5, depth=0.6, colour="blue")
    both = draw(scene(far, near), size=SIDE)
    alone = draw(scene(far), size=SIDE)
    assert both.visible[1] == 1.0
    assert alone.visible == (1.0,)
    hidden = alone.masks[0] & both.masks[1]
    assert hidden.any()
    assert both.visible[0] == pytest.approx(1 - hidden.sum() / alone.masks[0].sum())
    red, _, blue = both.pixels[hidden].astype(int).mean(axis=0)
    assert blue > red + 50


def test_a_thing_behind_an_equal_one_is_invisible() -> None:
    image = draw(scene(thing(depth=0.4), thing(depth=0.5)), size=SIDE)
    assert image.visible == (0.0, 1.0)
    assert not image.masks[0].any()


def test_the_border_cuts_half_of_a_ball_on_it_and_all_of_one_outside() -> None:
    half = draw(scene(thing("ball", x=0.0), thing("ball", x=1.0, y=0.6)), size=SIDE)
    assert half.visible == pytest.approx((0.5, 0.5), abs=0.02)
    outside = draw(scene(thing("ball", x=-0.5)), size=SIDE)
    assert outside.visible == (0.0,)
    assert not outside.masks.any()


@pytest.mark.parametrize("kind", ["cat", "car", "adult", "chair", "banana"])
def test_a_thing_that_faces_left_is_the_mirror_image_of_one_that_faces_right(kind: str) -> None:
    right = draw(scene(thing(kind, facing="right")), size=SIDE).masks[0]
    left = draw(scene(thing(kind, facing="left")), size=SIDE).masks[0]
    assert not np.array_equal(left, right)
    assert np.array_equal(left, right[:, ::-1])


def test_styles_change_every_image_and_no_mask() -> None:
    sampled = sample_scene(11)
    images = [draw(sampled, style, size=SIDE) for style in STYLES.values()]
    assert len({image.pixels.tobytes() for image in images}) == len(STYLES) == 5
    for image in images[1:]:
        assert np.array_equal(image.masks, images[0].masks)
        assert image.visible == images[0].visible
    brightness = {name: p.pixels.mean() for name, p in zip(STYLES, images, strict=True)}
    assert brightness["night"] < brightness["painted"] * 0.7
    assert brightness["sketch"] > brightness["painted"]


def test_a_shadow_darkens_the_ground_and_is_not_in_the_mask() -> None:
    standing = scene(thing("bottle"), setting="snow")
    with_shadow = draw(standing, replace(STYLES["painted"], noise=0, focus=False), size=SIDE)
    without = draw(standing, replace(STYLES["painted"], noise=0, focus=False, shadow=0), size=SIDE)
    darker = (with_shadow.pixels.astype(int) < without.pixels).any(axis=-1)
    assert darker.sum() > 40
    assert not (darker & with_shadow.masks[0] & (without.masks[0] & erode(without.masks[0]))).any()
    flying = draw(scene(thing("plane", y=0.3)), replace(STYLES["painted"], noise=0), size=SIDE)
    grounded = draw(scene(thing("plane", y=0.3)), replace(STYLES["painted"], noise=0, shadow=0), size=SIDE)
    assert flying.pixels.tobytes() == grounded.pixels.tobytes()


def erode(mask: np.ndarray) -> np.ndarray:
    """The mask without its border pixels, which are translucent."""
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner


def test_an_empty_scene_and_any_size_can_be_drawn() -> None:
    image = draw(scene(), size=50)
    assert image.pixels.shape == (50, 50, 3)
    assert image.masks.shape == (0, 50, 50)
    assert image.visible == ()
    assert draw(scene(thing()), size=1100).masks.sum() == pytest.approx(
        draw(scene(thing()), size=110).masks.sum() * 100, rel=0.05
    )


def test_a_patch_has_an_empty_edge_and_ends_at_the_foot() -> None:
    patch = paint_patch(thing("cube", facing="left"), 100)
    paints = np.asarray(patch.paints)
    assert not paints[0].any()
    assert not paints[:, -1].any()
    assert set(np.unique(paints)) == {0, PAINTS["body"], PAINTS["dark"], PAINTS["light"]}
    assert patch.top + paints.shape[0] / 2 == pytest.approx(0, abs=3)
    assert patch.left == pytest.approx(-25, abs=3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    x=st.floats(-0.4, 1.4),
    y=st.floats(-0.2, 1.6),
    scale=st.floats(0.01, 1.3),
    kind=st.sampled_from(["dog", "plane", "bicycle", "ring"]),
)
def test_visible_fractions_are_fractions_at_every_position(x: float, y: float, scale: float, kind: str) -> None:
    image = draw(scene(thing(kind, x=x, y=y, scale=scale)), size=48)
    assert 0.0 <= image.visible[0] <= 1.0
    assert (image.visible[0] > 0) == image.masks[0].any()
