"""Fine-tune a model on other data: the Run that continues from its checkpoint, and its scores before and after."""

from dataclasses import dataclass, replace
from typing import Any

from ..checkpoints import native
from ..checkpoints.configs import from_dict
from ..evaluation.comparison import Difference, compare_totals
from ..evaluation.scoring import Scoring, limited, score_system
from ..metrics.accumulators import Totals
from ..metrics.breakdowns import in_order
from ..metrics.protocols import protocol_named
from ..predict.segmenter import Segmenter
from ..progress import ProgressBar
from ..records import Config, Reader
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..zoo.loading import find
from ..zoo.systems import system_of_card
from .data import StoredData
from .run import Run, StartFrom

MEASURE = "mIoU"
SLOWER = 0.1  # the learning rates of fine-tuning, of those that the model was trained with
DEFAULT = Optimiser(lr=1e-5, clip=1.0)  # of a model whose card does not say how it was trained


def finetuned(model: str, system: type[Config] | None = None) -> Run:
    """A Run with the model's architecture, vocabulary, preprocessing and mask rule, which starts from its weights.

    `system` is the config class of a system of your own. Raises `InputError` for a model that is not on this machine.
    """
    card = native.read_card(find(model))
    return Run(
        data=StoredData(draw="sentence", sentences_per_image=4),
        system=from_dict(system_of_card(card.system, system), card.config, f"The card's config of {model}"),
        preprocess=card.preprocess,
        mask_rule=card.mask_rule,
        optimiser=_optimiser(card),
        schedule=Schedule(steps=1_000, batch_size=8, warm_up=50, validate_every=100),
        vocabulary=model,
        new_words=True,
        start_from=StartFrom(checkpoint=model),
        description=f"Fine-tuned from {model}. {card.description}".strip(),
    )


def _optimiser(card: native.Card) -> Optimiser:
    if (stored := card.run.get("optimiser")) is None:
        return DEFAULT
    before = from_dict(Optimiser, stored, "The card's optimiser")
    muon_lr = None if before.muon_lr is None else before.muon_lr * SLOWER
    return replace(before, lr=before.lr * SLOWER, muon_lr=muon_lr)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of expressions: how many there are, and their mean IoU before and after, in percent."""

    axis: str
    name: str
    num_expressions: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What fine-tuning did to the scores on one split: the mean IoU with a paired bootstrap, and by group."""

    overall: Difference
    num_expressions: int
    groups: tuple[Group, ...]

    @property
    def harms(self) -> bool:
        """Whether the whole 95% interval of the difference lies below zero."""
        return self.overall.high is not None and self.overall.high < 0


def effect(
    before: Segmenter, after: Segmenter, reader: Reader, *, limit: int | None = None, quiet: bool = False
) -> Effect:
    """Score both models on at most `limit` expressions of the reader, evenly spread."""
    split = limited(reader, limit)
    with ProgressBar("scoring", 2 * len(split), quiet=quiet) as bar:
        first, second = full_size_totals(before, split, bar), full_size_totals(after, split, bar)
    return Effect(
        overall=change(first, second)[MEASURE],
        num_expressions=len(split),
        groups=tuple(_groups(first, second)),
    )


def change(before: Totals, after: Totals) -> dict[str, Difference]:
    """After minus before, for each measure; `first` is the value before."""
    return {
        name: replace(found, first=found.second, second=found.first)
        for name, found in compare_totals(after, before).items()
    }


def full_size_totals(segmenter: Segmenter, reader: Reader, bar: ProgressBar) -> Totals:
    """The scores of every expression at its image's own size; the bar advances by one for each."""
    rules = protocol_named("full")
    totals = Totals(rules)
    for scored in score_system(segmenter, reader, rules, Scoring()):
        totals.add_all(scored)
        bar.advance(len(scored))
    return totals


def _groups(first: Totals, second: Totals) -> list[Group]:
    found = []
    for axis, groups in first.groups.items():
        for name in in_order(groups):
            sides: list[Any] = [totals.groups[axis][name] for totals in (first, second)]
            before, after = (side.values()[MEASURE] for side in sides)
            count = int(sides[0].totals()["expressions"])
            found.append(Group(axis=axis, name=name, num_expressions=count, before=before, after=after))
    return found
