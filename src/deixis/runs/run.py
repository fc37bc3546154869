"""A Run is everything that makes a checkpoint; a Chain is named Runs in order. Both are plain records."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..data.transforms import Preprocess
from ..errors import InputError
from ..objectives.supervised import SupervisedConfig
from ..records import Config, MaskRule
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from .data import Data

PUBLISHED = "bert-base-uncased"
LEARNED = "learned"
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class StartFrom:
    """The weights that a system starts from; each field replaces what the ones before it filled.

    `swin`, `vit`, `bert`, `resnet`, `i3d` and `glove` are files as their authors publish them, `nanodet` is its
    authors' converted to safetensors; of `glove` the words of the vocabulary are read. `checkpoint` is the name of an
    earlier Run of the chain, the folder of a run or a checkpoint, any safetensors file, or a model's name such as
    `bundled`. Of its weights those that match one of the
    `patterns` are read. With `prefixes`, from old beginnings of names to new ones, only weights that begin with an old
    one are read, under the new name. `encoders` is a checkpoint, named as `checkpoint` is, of which only the encoders
    are read. With `required`, a run without any of these is refused.
    """

    swin: str | None = None
    vit: str | None = None
    bert: str | None = None
    resnet: str | None = None
    i3d: str | None = None
    nanodet: str | None = None
    glove: str | None = None
    checkpoint: str | None = None
    patterns: tuple[str, ...] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)
    encoders: str | None = None
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """Data, system, objective, optimiser, schedule, and all else that the numbers depend on; stored as `run.json`.

    With a `target`, the data are the source domain, which is trained on with masks, and the target is what is scored.
    An objective over Pairs also trains on the target's sentences, without their masks, as many in a step as on the
    source's; an epoch is one pass over the source. Other objectives train on the source alone.

    `vocabulary` is `bert-base-uncased`, `learned` from the training sentences of all domains, a `vocab.txt`, the name
    or folder of a model, or the name of an earlier Run of the chain. With `new_words` the words of the training
    sentences that a vocabulary of whole words lacks are added to it, the most frequent ones first, as far as the
    system's table has room. `choose_best` names the score of validation that chooses the best weights: the largest, of
    `loss` the smallest. At the end, statistics of `domain_images` training images go into the card, by which an image
    that is unlike them is recognised; 0 for none.
    """

    data: Data
    system: Config
    target: Data | None = None
    objective: Config = field(default_factory=SupervisedConfig)
    preprocess: Preprocess = field(default_factory=Preprocess)
    mask_rule: MaskRule = field(default_factory=MaskRule)
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    vocabulary: str = PUBLISHED
    new_words: bool = False
    start_from: StartFrom = field(default_factory=StartFrom)
    choose_best: str = "mIoU"
    precision: Precision = "fp32"
    compiled: bool = False
    seed: int = 0
    workers: int = 2
    domain_images: int = 500
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Named Runs in order; each may start from an earlier one's weights and vocabulary by its name.

    The last Run's checkpoint is the chain's result.
    """

    runs: Mapping[str, Run]

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError("The chain has no run; give at least one.")


def with_seed(job: Run | Chain, number: int) -> Run | Chain:
    """The same job with every seed raised by `number`."""
    if isinstance(job, Run):
        return replace(job, seed=job.seed + number)
    return Chain(runs={name: replace(run, seed=run.seed + number) for name, run in job.runs.items()})
