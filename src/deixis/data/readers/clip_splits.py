"""What readers of videos share: expressions about clips, each with one Sample for every frame or for some of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ... import masks
from ...errors import InputError
from ...masks import RLE
from ...records import Ids, Sample, Visual


@dataclass(frozen=True, slots=True)
class ClipExpression:
    """A sentence as written, about an object of a video; its samples are at `frames`, positions in the clip."""

    video: str
    id: str  # unique in its video
    text: str
    object: str
    frames: Sequence[int]
    names: tuple[str, ...]  # of those frames

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.names):
            raise InputError(f"Video {self.video} has {len(self.frames)} positions and {len(self.names)} names.")


@runtime_checkable
class ClipSource(Protocol):
    """A data set on disk."""

    @property
    def dataset(self) -> str: ...

    def clip(self, expression: ClipExpression) -> Visual: ...

    def mask(self, expression: ClipExpression, number: int, clip: Visual) -> tuple[RLE | None, Mapping[str, Any]]:
        """The mask at the expression's frame number `number`, None where there is no label; and facts about it."""
        ...

    def sentence_id(self, expression: ClipExpression, number: int) -> str: ...


class ClipSplit:
    """The samples of one split: the frames of the first expression, then of the second …

    `ids.image` is the video, so that splits that share one are found; `ids.sentence` names video, expression and frame.
    An expression is lower case with single blanks, as the published loaders use it; `traits["sentence"]` is as written.
    """

    def __init__(self, source: ClipSource, split: str, expressions: Iterable[ClipExpression]) -> None:
        self.source = source
        self.split = split
        self.reads_masks = True
        self.expressions = tuple(expressions)
        self._ends = np.array([0, *accumulate(len(each.frames) for each in self.expressions)])
        self.ids: tuple[Ids, ...] = tuple(
            Ids(each.video, each.object, source.sentence_id(each, number))
            for each in self.expressions
            for number in range(len(each.frames))
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the layout that was found, and about records that the data set itself leaves out."""
        return tuple(getattr(self.source, "notes", ()))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        ids = self.ids[position]
        row = int(np.searchsorted(self._ends, position % len(self.ids), side="right")) - 1
        expression, number = self.expressions[row], position % len(self.ids) - int(self._ends[row])
        clip = self.source.clip(expression)
        _ = clip.size  # raises where the clip itself is broken
        mask, facts = self.source.mask(expression, number, clip) if self.reads_masks else (None, {})
        traits = {
            "sentence": expression.text,
            "video": expression.video,
            "expression": expression.id,
            "frame_name": expression.names[number],
            "num_frames": len(expression.frames),
            **({} if mask is None else {"area": masks.area(mask)}),
            **facts,
        }
        return Sample(
            visual=clip,
            expression=normalised(expression.text),
            mask=mask,
            ids=ids,
            dataset=self.source.dataset,
            split=self.split,
            frame=expression.frames[number],
            traits=traits,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def normalised(sentence: str) -> str:
    """Lower case, every run of white space one blank, none at the ends."""
    return " ".join(sentence.lower().split())


def frame_sentence(expression: ClipExpression, number: int) -> str:
    """`video/expression/frame`, as submissions name their files."""
    return f"{expression.video}/{expression.id}/{expression.names[number]}"


def first_folder(root: Path, names: Sequence[str]) -> Path | None:
    """The first of the folders below the root that exists."""
    return next((root / name for name in names if (root / name).is_dir()), None)
