"""How the things of a scene move, as data: exact positions at every frame, in integers.

Lengths are in ten-thousandths of the image's side. A thing moves along its ground, at a constant speed between two
frames, may reverse its direction, and may move away from the camera or towards it. The motions follow from the scene's
seed, and the first frame shows the scene of the image of this seed (moving things face where they go).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..scene.kinds import FAMILY_OF, WATER_KINDS, aspect_of, is_flying
from ..scene.scenes import HORIZON, Facing, Scene, Thing

Action = Literal[
    "none", "walking", "running", "crawling", "flying", "swimming", "driving", "sailing", "rolling", "jumping", "moving"
]
Plan = Literal["go", "stop", "start", "turn", "leave", "away", "nearer", "jump", "look round"]

UNIT = 10_000
MIN_FRAMES, MAX_FRAMES = 8, 36
LEAST_SPEED = 60  # of everything that moves: 1.5 pixels a frame in an image with a side of 256
RUNNING = 420  # the speed from which legs run
MOST_DRIFT = 400  # of the camera over the clip
HOP_FRAMES = 6
# The probability that a thing of a family moves; of all others one in eight does.
MOBILITY = {"people": 0.6, "animals": 0.6, "vehicles": 0.55, "shapes": 0.2}
PLANS: tuple[tuple[Plan, int], ...] = (
    *(("go", 5), ("stop", 4), ("start", 2), ("turn", 3), ("leave", 4)),
    *(("away", 3), ("nearer", 2), ("jump", 2), ("look round", 2)),
)
TURNING = frozenset({"people", "animals", "vehicles"})  # families that face a side


@dataclass(frozen=True, kw_only=True)
class Motion:
    """The motion of one thing: at rest before frame `start` and from frame `stop` on, reversed at frame `turn`.

    `across` is the speed to the right, `nearer` the change of depth in a frame, `hop` the height of its jumps.
    """

    action: Action = "none"
    across: int = 0
    nearer: int = 0
    hop: int = 0
    start: int = 0
    stop: int = 0
    turn: int | None = None
    looks_round: int | None = None  # the frame at which it faces the other side, without going there

    def steps(self, frame: int) -> tuple[int, int]:
        """How many frames it has moved until this one, and the same with those after the turn counted back."""
        moved = min(max(frame, self.start), self.stop) - self.start
        if self.turn is None or frame <= self.turn:
            return moved, moved
        before = min(max(self.turn, self.start), self.stop) - self.start
        return moved, 2 * before - moved

    def moves(self, frame: int) -> bool:
        """Whether it is somewhere else at the next frame."""
        return self.start <= frame < self.stop and bool(self.across or self.nearer or self.hop)


@dataclass(frozen=True, kw_only=True)
class MovingScene:
    """A scene and the motion of each of its things; `drift` is how far the camera has moved at the last frame."""

    scene: Scene
    motions: tuple[Motion, ...]
    num_frames: int
    drift: tuple[int, int] = (0, 0)

    def camera(self, frame: int) -> tuple[int, int]:
        """The shift of everything in the picture, to the right and downward."""
        across, down = (part * frame // max(1, self.num_frames - 1) for part in self.drift)
        return across, down

    def things(self, frame: int) -> tuple[Thing, ...]:
        """The things at this frame, in the order of the scene, where the picture shows them."""
        shift = self.camera(frame)
        pairs = zip(self.scene.things, self.motions, strict=True)
        return tuple(_moved(thing, motion, frame, self.scene, shift) for thing, motion in pairs)


def sample_motions(scene: Scene, num_frames: int) -> MovingScene:
    """The motions of a scene; they follow from its seed and the number of frames, and at least one thing moves."""
    rng = np.random.default_rng([scene.seed, 50, num_frames])
    drift = (int(rng.integers(-MOST_DRIFT, MOST_DRIFT + 1)), int(rng.integers(-MOST_DRIFT // 4, MOST_DRIFT // 4 + 1)))
    chances = [MOBILITY.get(FAMILY_OF[thing.kind], 0.125) for thing in scene.things]
    chances = [0.6 if thing.kind == "ball" else chance for thing, chance in zip(scene.things, chances, strict=True)]
    movers = {index for index, chance in enumerate(chances) if rng.random() < chance}
    movers = movers or {int(np.argmax(chances))}
    things, motions = [], []
    for index, thing in enumerate(scene.things):
        motion = _sampled(rng, thing, scene, num_frames) if index in movers else Motion()
        things.append(_posed(thing, motion))
        motions.append(motion)
    posed = replace(scene, things=tuple(things))
    return MovingScene(scene=posed, motions=tuple(motions), num_frames=num_frames, drift=drift)


def perspective(depth: int) -> int:
    """The apparent size at a depth, as `scene.sampling.perspective`."""
    return 6_400 + 72 * depth // 100


def _sampled(rng: np.random.Generator, thing: Thing, scene: Scene, num_frames: int) -> Motion:
    plan = _plan(rng, thing, scene)
    last = num_frames - 1
    x, half = round(thing.x * UNIT), round(thing.scale * aspect_of(thing) * UNIT / 2)
    # Most things go where there is more room, so that they stay in the picture.
    to_right = (x < UNIT // 2) == (rng.random() < 0.8)
    length, middle = int(rng.integers(2_000, 5_000)), int(rng.integers(2 * last // 5, 3 * last // 5 + 1))
    if plan == "leave":
        to_right = x > UNIT // 2
        length = (UNIT - x if to_right else x) + half + 2 * MOST_DRIFT
    if plan == "look round":
        return Motion(looks_round=middle)
    start, stop = (middle if plan == "start" else 0), (middle if plan == "stop" else last)
    speed = max(LEAST_SPEED, length // max(1, stop - start))
    if plan == "leave":
        speed += speed // 8 + 1  # it is gone before the last frame
    if plan == "jump":
        return Motion(action="jumping", hop=int(rng.integers(600, 1_200)), stop=last)
    towards = 0
    if plan in ("away", "nearer"):
        depth = round(thing.depth * UNIT)
        far = (depth - 500 if plan == "away" else 9_600 - depth) * int(rng.integers(70, 101)) // 100
        towards, speed = far // last * (-1 if plan == "away" else 1), speed // 3
    return Motion(
        action=_action(thing, speed),
        across=speed if to_right else -speed,
        nearer=towards,
        start=start,
        stop=stop,
        turn=middle if plan == "turn" else None,
    )


def _plan(rng: np.random.Generator, thing: Thing, scene: Scene) -> Plan:
    family = FAMILY_OF[thing.kind]
    possible = dict(PLANS)
    if thing.kind in WATER_KINDS or scene.setting == "beach" or not thing.depth >= 0.45:
        del possible["away"]
    if thing.kind in WATER_KINDS or scene.setting == "beach" or not thing.depth <= 0.55:
        del possible["nearer"]
    if family not in TURNING:
        del possible["look round"]
    if is_flying(thing) or family == "vehicles" or thing.kind == "fish":
        del possible["jump"]
    rest = int(rng.integers(sum(possible.values())))
    for plan, weight in possible.items():
        rest -= weight
        if rest < 0:
            return plan
    raise AssertionError("the weights add up")


def _action(thing: Thing, speed: int) -> Action:
    if is_flying(thing):
        return "flying"
    if thing.kind in ("fish", "boat"):
        return "swimming" if thing.kind == "fish" else "sailing"
    if thing.kind in ("ball", "apple", "ring"):
        return "rolling"
    if thing.kind == "baby":
        return "crawling"
    family = FAMILY_OF[thing.kind]
    if family == "vehicles":
        return "driving"
    if family in ("people", "animals"):
        return "running" if speed >= RUNNING and thing.kind != "turtle" else "walking"
    return "moving"


def _posed(thing: Thing, motion: Motion) -> Thing:
    """The thing as it moves at first: on its feet, and facing where it goes."""
    facing: Facing = "left" if motion.across < 0 else "right"
    state = thing.state
    if motion.action in ("walking", "running", "jumping"):
        state = "running" if (thing.kind, motion.action) == ("horse", "running") else state and "standing"
    elif motion.action == "crawling":
        state = "crawling"
    return replace(thing, facing=facing if motion.across else thing.facing, state=state)


def _moved(thing: Thing, motion: Motion, frame: int, scene: Scene, shift: Sequence[int]) -> Thing:
    moved, net = motion.steps(frame)
    depth_before = round(thing.depth * UNIT)
    depth = depth_before + motion.nearer * net
    x, y, scale = (round(value * UNIT) for value in (thing.x, thing.y, thing.scale))
    x += motion.across * net
    scale = scale * perspective(depth) // perspective(depth_before)
    if motion.nearer and not is_flying(thing):
        horizon = round(HORIZON[scene.setting] * UNIT)
        y += (UNIT - horizon) * (depth - depth_before) // UNIT
    if motion.hop and moved % HOP_FRAMES:
        part = moved % HOP_FRAMES
        y -= motion.hop * 4 * part * (HOP_FRAMES - part) // HOP_FRAMES**2
    turns = (motion.turn is not None and frame >= motion.turn) + (
        motion.looks_round is not None and frame >= motion.looks_round
    )
    other: Facing = "left" if thing.facing == "right" else "right"
    return replace(
        thing,
        x=(x + shift[0]) / UNIT,
        y=(y + shift[1]) / UNIT,
        scale=scale / UNIT,
        depth=depth / UNIT,
        facing=other if turns % 2 else thing.facing,
    )
