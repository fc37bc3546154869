"""The Samples of one clip of Toyland: sentences about motion beside those of images, with the masks of some frames."""

from random import Random
from typing import TYPE_CHECKING, cast

from .. import masks
from ..masks import RLE
from ..records import Ids, Sample
from .language.expressions import ATTEMPTS, Expression, traits
from .language.motion_grammar import describe_motion, describe_throughout, is_about_motion, needs_motion
from .motion.clip import DrawnClip
from .motion.observing import clip_view

if TYPE_CHECKING:
    from .world import Toyland

MOTION = 0.7  # the probability that a sentence is about motion


def target_frames(num_frames: int, labelled: int) -> tuple[int, ...]:
    """Evenly spread frames: the middle one, or the middles of as many equal parts of the clip."""
    return tuple((2 * part + 1) * num_frames // (2 * labelled) for part in range(labelled))


def clip_samples(world: "Toyland", clip: DrawnClip) -> tuple[Sample, ...]:
    """One Sample for each sentence and labelled frame, also where the referent has left the picture (an empty mask).

    A sentence is about a thing that is clearly visible on one of the labelled frames, and true of the whole clip.
    """
    rng = Random(f"{clip.seed} {world.subset} {world.paraphrases} {clip.num_frames}")
    view, frames = clip_view(clip), target_frames(clip.num_frames, world.labelled_frames)
    visible = {index for frame in frames for index in clip.frame(frame).view.certain}
    referents = [index for index in sorted(visible) if world.describes(view.things[index])]
    if world.objects_per_scene is not None and world.objects_per_scene < len(referents):
        referents = sorted(rng.sample(referents, k=world.objects_per_scene))
    expressions = [one for index in referents for one in _expressions(world, clip, index, rng)]
    return tuple(
        _sample(world, clip, number, expression, frame)
        for number, expression in enumerate(expressions)
        for frame in frames
    )


def _expressions(world: "Toyland", clip: DrawnClip, referent: int, rng: Random) -> list[Expression]:
    """Up to `sentences_per_object` different ones."""
    whole, motion = clip_view(clip), clip.moving().motions[referent]
    views = [clip.frame(number).view for number in range(clip.num_frames)]
    frames = target_frames(clip.num_frames, world.labelled_frames)
    clear = [frame for frame in frames if referent in views[frame].certain]
    found: dict[str, Expression] = {}
    for _ in range(world.sentences_per_object * ATTEMPTS):
        if rng.random() < MOTION:
            phrase = describe_motion(whole, referent, motion.action, world.wording, rng)
        else:
            phrase = describe_throughout(views, rng.choice(clear), referent, world.wording, rng)
        if phrase is not None:
            found.setdefault(phrase.text, Expression(text=phrase.text, phrase=phrase, targets=(referent,)))
        if len(found) == world.sentences_per_object:
            break
    return [*found.values()]


def _sample(world: "Toyland", clip: DrawnClip, number: int, expression: Expression, frame: int) -> Sample:
    (target,) = expression.targets
    drawn, program = clip.frame(frame), expression.phrase.program
    facts = traits(expression, drawn.view, world.wording) | {
        "frame": frame,
        "action": clip.moving().motions[target].action,
        "is_motion": is_about_motion(program),
        "needs_motion": needs_motion(program, clip_view(clip)),
    }
    return Sample(
        visual=clip,
        expression=expression.text,
        mask=cast(RLE, masks.encode(drawn.instances == target)),
        ids=Ids(
            image=f"{clip.seed}",
            object=f"{clip.seed}-{target}",
            sentence=f"{clip.seed}-{world.subset}-{number}" + (f"-{frame}" if world.labelled_frames > 1 else ""),
        ),
        dataset=world.subset,
        split=world.split,
        frame=frame,
        traits=facts,
    )
