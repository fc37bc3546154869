"""Clips: the same bytes everywhere, frames drawn on request, and sentences that hold of one thing only."""

import hashlib
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL
import pytest

from deixis import masks
from deixis.errors import InputError
from deixis.toyland.export.packing import pack
from deixis.toyland.language.programs import parse
from deixis.toyland.motion.clip import DrawnClip, DrawnFrame
from deixis.toyland.motion.moving import Motion, MovingScene, sample_motions
from deixis.toyland.packed import PackedToyland
from deixis.toyland.scene.sampling import sample_scene
from deixis.toyland.scene.scenes import Scene, Thing
from deixis.toyland.world import Toyland

SMALL: dict[str, Any] = {"size": 48, "num_frames": 8}
DIGEST = "360396eb978616814a13bd3b0dc853de376a48aaedc081442963524e727554c7"


def _car(x: float = 0.5, **facts: Any) -> Thing:
    return Thing(kind="car", colour="red", size="medium", x=x, y=0.8, scale=0.2, depth=0.6, **facts)


def _moving(motion: Motion, frames: int = 10) -> MovingScene:
    return MovingScene(scene=Scene(seed=0, setting="street", things=(_car(),)), motions=(motion,), num_frames=frames)


def test_a_thing_stops_where_it_is() -> None:
    moving = _moving(Motion(action="driving", across=100, stop=4))
    assert [round(1e4 * moving.things(frame)[0].x) for frame in (0, 3, 4, 9)] == [5000, 5300, 5400, 5400]


def test_a_thing_that_turns_goes_back_and_faces_the_other_side() -> None:
    moving = _moving(Motion(action="driving", across=100, stop=9, turn=4))
    things = [moving.things(frame)[0] for frame in range(10)]
    assert [round(1e4 * thing.x) for thing in things] == [5000, 5100, 5200, 5300, 5400, 5300, 5200, 5100, 5000, 4900]
    assert [thing.facing for thing in things] == ["right"] * 4 + ["left"] * 6


def test_a_thing_that_goes_away_gets_smaller_and_higher() -> None:
    things = [_moving(Motion(action="driving", nearer=-400, stop=9)).things(frame)[0] for frame in (0, 9)]
    assert things[1].scale < 0.8 * things[0].scale
    assert things[1].y < things[0].y


def test_motions_follow_from_the_seed_in_whole_numbers() -> None:
    scenes = [sample_motions(sample_scene(seed), 16) for seed in range(20)]
    assert scenes == [sample_motions(sample_scene(seed), 16) for seed in range(20)]
    assert all(any(motion != Motion() for motion in moving.motions) for moving in scenes)
    values = [value for moving in scenes for motion in moving.motions for value in vars(motion).values()]
    assert {type(value) for value in values} <= {int, str, type(None)}


@pytest.mark.skipif(not PIL.__version__.startswith("13."), reason="other Pillows fill polygons differently")
def test_clips_keep_their_bytes() -> None:
    digest = hashlib.sha256()
    for seed, style in ((1, "painted"), (2, "sketch")):
        clip = DrawnClip(seed=seed, num_frames=8, side=48, style=style)
        digest.update(clip.read([0, 7]).tobytes() + clip.instances(7).tobytes())
    for sample in Toyland(num_scenes=1, first_seed=2, **SMALL).scene(0):
        digest.update(f"{sample.ids.sentence} {sample.expression} {sample.mask}".encode())
    assert digest.hexdigest() == DIGEST


def test_only_the_frames_that_are_asked_for_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    clip = DrawnClip(seed=77, num_frames=8, side=32)
    frame = clip.frame(0)

    def draw(_: DrawnClip, number: int) -> DrawnFrame:
        drawn.append(number)
        return frame

    monkeypatch.setattr("deixis.toyland.motion.clip._frame", draw)
    assert clip.read([5, 2, 5]).shape == (3, 32, 32, 3)
    assert drawn == [5, 2, 5]


@pytest.mark.parametrize(("seed", "subset"), [(2, "toyland-g"), (102, "toyland"), (104, "toyland+")])
def test_sentences_about_motion_are_true_of_their_referent_alone(seed: int, subset: str) -> None:
    """Checked from the positions of all things, by other code than the grammar's."""
    world = Toyland(subset=subset, num_scenes=1, first_seed=seed, sentences_per_object=2, **SMALL)
    clip = world.clip(0)
    num_checked = 0
    for sample in world.scene(0):
        found = re.fullmatch(r"and\((.*), does\((\w+)\)\)", sample.traits["program"])
        if found is None:
            continue
        doing = {index for index in range(len(clip.scene().things)) if _does(clip, index, found[2])}
        facts = re.findall(r"is\((\w+), (\w+)\)", found[1])
        named = {index for index in doing if all(_is(clip.scene().things[index], *fact) for fact in facts)}
        assert named == {sample.traits["targets"][0]}, sample.expression
        np.testing.assert_array_equal(
            masks.decode(sample.mask), clip.instances(sample.frame) == sample.traits["targets"][0]
        )
        parse(sample.traits["program"])
        num_checked += 1
    assert num_checked


def _is(thing: Thing, attribute: str, value: str) -> bool:
    from deixis.toyland.scene.kinds import FAMILY_OF

    if attribute == "family":
        return FAMILY_OF[thing.kind] == value
    return value in thing.carried if attribute == "carried" else getattr(thing, attribute) == value


def _does(clip: DrawnClip, index: int, event: str) -> bool:
    """From the plan of the motion and what any frame shows of the thing, not from what the grammar observed."""
    motion, last = clip.moving().motions[index], clip.num_frames - 1
    if not any((clip.instances(frame) == index).sum() > 4 for frame in range(clip.num_frames)):
        return False
    moves = motion.stop > motion.start
    tests = {
        "moves": moves,
        "rests": not moves and motion.looks_round is None,
        "stops": moves and motion.start == 0 and motion.stop < last,
        "starts": moves and motion.start > 0,
        "turns": motion.turn is not None or motion.looks_round is not None,
        "leaves": moves and not (clip.instances(last) == index).any(),
        "departs": moves and (motion.nearer < 0 or not (clip.instances(last) == index).any()),
        "nearer": motion.nearer > 0,
        "jumps": motion.hop > 0,
        "to_left": motion.across < 0,
        "to_right": motion.across > 0,
    }
    return bool(tests[event])


def test_packed_clips_equal_drawn_ones(tmp_path: Path) -> None:
    world = Toyland(num_scenes=1, first_seed=102, labelled_frames=2, sentences_per_object=1, **SMALL)
    pack(tmp_path / "clips", [world])
    packed = PackedToyland(tmp_path / "clips")
    drawn = world.scene(0)
    assert (packed.num_frames, packed.size, packed.labelled_frames, len(packed)) == (8, 48, 2, len(drawn))
    for stored, sample in zip(packed.scene(0), drawn, strict=True):
        assert (stored.expression, stored.frame, stored.ids) == (sample.expression, sample.frame, sample.ids)
        assert stored.mask == sample.mask
    np.testing.assert_array_equal(packed[0].visual.read([3, 0]), drawn[0].visual.read([3, 0]))
    assert packed[0].visual.num_frames == 8
    assert {sample.frame for sample in drawn} == {2, 6}
    assert packed[1].mask == drawn[1].mask


def test_impossible_clips_are_refused() -> None:
    with pytest.raises(InputError, match="num_frames is 4; expected 1 for images, or 8 to 36"):
        Toyland(num_frames=4)
    with pytest.raises(InputError, match="labelled_frames is 9"):
        Toyland(num_frames=8, labelled_frames=9)


def test_the_image_of_a_seed_and_its_clip_show_the_same_things() -> None:
    world = Toyland(num_scenes=1, first_seed=5, **SMALL)
    image, clip = world.drawn(0).scene(), world.clip(0).scene()
    assert [(one.kind, one.colour, one.x) for one in image.things] == [
        (one.kind, one.colour, one.x) for one in clip.things
    ]
    assert cast(str, image.setting) == clip.setting
