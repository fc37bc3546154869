"""Every kind, in every state, colour and pattern: complete, distinct, and of the requested colour."""

import numpy as np
import pytest

from deixis.toyland.render.drawing import paint_patch
from deixis.toyland.render.pen import BODY_PAINTS, PAINTS, Pen, variant
from deixis.toyland.render.shading import COLOUR_VALUES, PATTERN_VALUES, Cutout, cut_out
from deixis.toyland.render.things import DRAWINGS
from deixis.toyland.scene.domains import PAINTED, STYLES
from deixis.toyland.scene.kinds import ASPECTS, CARRIED, FAMILIES, KINDS, STATES, aspect_of
from deixis.toyland.scene.scenes import COLOURS, PATTERNS, Thing

LOOKS = [(kind, state) for kind in KINDS for state in STATES.get(kind, ("",))]
BODY = np.array([PAINTS[name] for name in BODY_PAINTS])


def thing(kind: str, state: str = "", colour: str = "red", pattern: str = "plain", detail_seed: int = 5) -> Thing:
    return Thing(
        kind=kind,
        state=state,
        colour=colour,  # type: ignore[arg-type]
        pattern=pattern,  # type: ignore[arg-type]
        size="medium",
        x=0.5,
        y=0.9,
        scale=0.4,
        depth=0.5,
        detail_seed=detail_seed,
    )


def cut(drawn: Thing, style: str = "painted") -> tuple[np.ndarray, Cutout]:
    """The paint of each output pixel (of its first sample), and the cutout."""
    patch = paint_patch(drawn, 160).paints
    return np.asarray(patch)[::2, ::2], cut_out(patch, drawn, STYLES[style], light=1)


def test_there_are_at_least_forty_kinds_in_seven_families_and_all_can_be_drawn() -> None:
    assert len(KINDS) >= 40
    assert len(FAMILIES) == 7
    assert set(DRAWINGS) == set(ASPECTS) == set(KINDS)


@pytest.mark.parametrize(("kind", "state"), LOOKS)
def test_the_requested_colour_is_the_nearest_to_the_coloured_parts(kind: str, state: str) -> None:
    values = np.array([COLOUR_VALUES[colour] for colour in COLOURS])
    for number, colour in enumerate(COLOURS):
        paints, cutout = cut(thing(kind, state, colour, detail_seed=977 * number))
        coloured = np.isin(paints, BODY) & (cutout.cover == 255)
        assert coloured.sum() > 0.3 * (cutout.cover == 255).sum()
        # Shading makes colours darker and lighter: of each colour the shade nearest to the median counts.
        middle = np.median(cutout.colour[coloured], axis=0)
        gaps = [((values * shade - middle) ** 2).sum(axis=1) for shade in (0.8, 0.9, 1.0, 1.1)]
        assert COLOURS[int(np.min(gaps, axis=0).argmin())] == colour


@pytest.mark.parametrize(("kind", "state"), LOOKS)
def test_patterns_cover_less_than_the_colour_of_the_thing(kind: str, state: str) -> None:
    masks = set()
    for pattern in PATTERNS[1:]:
        paints, cutout = cut(thing(kind, state, "blue", pattern))
        body = np.isin(paints, BODY) & (cutout.cover == 255)
        base, over = np.array(COLOUR_VALUES["blue"]), np.array(PATTERN_VALUES["blue"])
        own = np.abs(cutout.colour[body] - base).sum(axis=-1) <= np.abs(cutout.colour[body] - over).sum(axis=-1)
        assert 0.08 < 1 - own.mean() < 0.62
        masks.add(own.tobytes())
    assert len(masks) == 3


def test_states_and_carried_things_change_the_drawing() -> None:
    for kind, states in STATES.items():
        drawn = {np.asarray(paint_patch(thing(kind, state), 160).paints).tobytes() for state in states}
        assert len(drawn) == len(states), kind
    for kind in FAMILIES["people"]:
        plain = thing(kind, STATES[kind][0])
        loaded = [Thing(**{**vars(plain), "carried": (name,)}) for name in CARRIED]
        assert len({np.asarray(paint_patch(one, 160).paints).tobytes() for one in (plain, *loaded)}) == 4


def test_no_two_kinds_look_alike() -> None:
    drawn = {
        kind: np.asarray(paint_patch(thing(kind, STATES.get(kind, ("",))[0]), 64).paints).tobytes() for kind in KINDS
    }
    assert len(set(drawn.values())) == len(KINDS)


@pytest.mark.parametrize(("kind", "state"), LOOKS)
def test_nothing_reaches_the_edge_of_the_sheet_and_the_box_is_filled(kind: str, state: str) -> None:
    for carried in ((), ("hat", "ball", "bag")) if kind in FAMILIES["people"] else ((),):
        drawn = Thing(**{**vars(thing(kind, state)), "carried": carried})
        pen = Pen(200, aspect_of(drawn))
        DRAWINGS[kind](pen, drawn)
        left, top, right, bottom = pen.sheet.getbbox() or (0, 0, 0, 0)
        assert min(left, top, pen.sheet.width - right, pen.sheet.height - bottom) > 0
        assert 0.8 < (bottom - top) / 200 < 1.35
        assert 0.7 < (right - left) / (200 * aspect_of(drawn)) < 1.7
        assert abs(bottom - pen.foot[1]) < 25


def test_light_falls_from_its_side_and_edges_are_drawn_where_the_style_says() -> None:
    from_left = cut_out(paint_patch(thing("ball"), 160).paints, thing("ball"), PAINTED, light=-1).colour
    from_right = cut_out(paint_patch(thing("ball"), 160).paints, thing("ball"), PAINTED, light=1).colour
    middle = from_left.shape[0] // 2
    assert from_left[middle, 12, 0] > from_left[middle, -13, 0]
    assert from_right[middle, 12, 0] < from_right[middle, -13, 0]
    _, painted = cut(thing("cube"))
    assert painted.lines.max() > 150
    assert (painted.colour <= painted.cover[..., None]).all()


def test_variants_are_uniform_and_reproducible() -> None:
    counts = np.bincount([variant(seed, 3, 5) for seed in range(2000)], minlength=5)
    assert counts.min() > 300
    assert variant(12, 1, 1000) == variant(12, 1, 1000)
    assert variant(12, 1, 1000) != variant(12, 2, 1000)
