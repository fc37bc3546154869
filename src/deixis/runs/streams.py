"""The streams of Batches that a Run trains on and is scored by, made from the readers of its data."""

from dataclasses import dataclass
from typing import Any

from ..data.batches import EvalBatches, PairedBatches, TrainBatches
from ..data.collate import Labels
from ..data.subsets import Concat
from ..data.tools.leakage import leaks, same_images
from ..records import Reader
from ..text.tokenizers import AnyTokenizer
from ..training.validation import MASK_SCORES
from .data import Data
from .run import Run

TARGET_SEED = 7919  # added to the run's, so that equal data on both sides are drawn in other orders


@dataclass(frozen=True, kw_only=True)
class RunReaders:
    """What a run reads: `target` is the training split of its target domain, `validation` what is scored, if any."""

    training: Reader
    validation: Reader | None
    target: Reader | None = None

    @property
    def sentences(self) -> Reader:
        """The training sentences of all domains."""
        return self.training if self.target is None else Concat((self.training, self.target))

    def warnings(self) -> list[str]:
        """A sentence for each pair of splits that share images."""
        if self.target is None:
            return [] if self.validation is None else leaks(self.training, self.validation)
        found = [] if self.validation is None else leaks(self.target, self.validation)
        targets = {"training": self.target} | ({} if self.validation is None else {"validation": self.validation})
        return found + [
            f"The target's {name} split shares {len(shared):,} of its images with the source (such as {shared[0]}), "
            "which has masks of them: scores on the target will be too high."
            for name, reader in targets.items()
            if (shared := same_images(self.training, reader))
        ]


def is_measurable(run: Run, validation: Reader | None) -> bool:
    """Whether the score by which an adaptation chooses its best weights can be computed."""
    if validation is None or run.choose_best not in MASK_SCORES:
        return validation is not None
    return any(validation[position].mask is not None for position in range(len(validation)))


def takes_pairs(objective: Any) -> bool:
    """Whether its terms are computed from a Pair."""
    return bool(getattr(objective, "takes_pairs", False))


def source_batches(run: Run, readers: RunReaders, tokenizer: AnyTokenizer) -> TrainBatches:
    return _batches(run, run.data, readers.training, tokenizer, "masks" if run.data.labels == "masks" else "none")


def paired(run: Run, source: TrainBatches, readers: RunReaders, tokenizer: AnyTokenizer) -> PairedBatches:
    """The source's batches beside as large ones of the target, whose masks are never read."""
    assert run.target is not None
    assert readers.target is not None
    target = _batches(run, run.target, readers.target, tokenizer, "none", TARGET_SEED)
    return PairedBatches(source, target)


def eval_batches(run: Run, validation: Reader, tokenizer: AnyTokenizer) -> EvalBatches:
    scored = run.data if run.target is None else run.target
    return EvalBatches(
        reader=validation,
        tokenizer=tokenizer,
        preprocess=run.preprocess,
        batch_size=max(1, run.schedule.batch_size // run.schedule.accumulate),
        limit=scored.validation_limit,
        workers=run.workers,
    )


def _batches(
    run: Run, data: Data, reader: Reader, tokenizer: AnyTokenizer, labels: Labels, more_seed: int = 0
) -> TrainBatches:
    return TrainBatches(
        reader=reader,
        tokenizer=tokenizer,
        preprocess=run.preprocess,
        batch_size=run.schedule.batch_size,
        sentences_per_image=data.sentences_per_image,
        draw=data.draw,
        distinct_images=data.distinct_images,
        labels=labels,
        seed=run.seed + more_seed,
        workers=run.workers,
    )
