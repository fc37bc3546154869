"""One evaluation on disk: records are written as expressions are scored, and totals are computed from the records."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

import torch

from ..data.validation import Issues
from ..errors import DeixisError, InputError
from ..files import replaced
from ..metrics.accumulators import Totals
from ..metrics.bootstrap import DRAWS
from ..metrics.presence import PresenceScores, presence_scores
from ..metrics.protocols import ScoringProtocol
from ..metrics.scored import Scored
from ..predict.segmenter import Segmenter
from ..records import MaskRule, Reader
from .mask_files import FileScorer
from .predictions import Predictions
from .record_files import RecordWriter, check_header, mend, merge_shards, read_records
from .report import Result, hash_of_ids, measure
from .scoring import Scoring, score_system
from .submissions import MaskFiles, is_mask_files

FEW = 10  # ids that the error about missing predictions names
FLUSH = 1000  # masks of a predictions file between two flushes to disk


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One split under one protocol, and the files of its result.

    `advance` is called with the number of expressions scored. `issues` names the records that the reader left out,
    which the result lists.
    """

    reader: Reader
    rules: ScoringProtocol
    dataset: str
    split: str
    out: Path
    draws: int = DRAWS
    seed: int = 0
    issues: Issues = field(default_factory=Issues)
    left_out: frozenset[str] = frozenset()  # sentences of the split that are not scored
    whole: Reader | None = None  # all of the split, where the protocol reads frames that it does not score
    advance: Callable[[int], None] = field(default=lambda count: None)

    def __post_init__(self) -> None:
        if not len(self.reader):
            raise InputError(f"{self.dataset} {self.split} has no expressions to score; choose another split.")
        sentences = {one.sentence for one in self.reader.ids}
        if len(sentences) != len(self.reader.ids):
            raise InputError(
                f"{self.dataset} {self.split} has sentences with equal ids, which their scores are stored by; make the "
                "ids unique."
            )

    @property
    def records(self) -> Path:
        return self.out.with_suffix(".records.jsonl")

    def part(self, rank: int) -> Path:
        return self.out.with_suffix(f".records.part{rank}")

    @property
    def missing(self) -> Path:
        return self.out.with_suffix(".missing.txt")

    @property
    def parts(self) -> list[Path]:
        return sorted(self.out.parent.glob(f"{escape(self.part(0).name[:-1])}*"))

    def header(
        self,
        model: str,
        checkpoint_hash: str | None,
        rule: MaskRule | None,
        computed: dict[str, Any] | None = None,
        presence: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What must agree before two files of records may be merged.

        `rule` is None for masks from a file, `computed` is `Segmenter.computed`, `presence` the result of
        `presence_decision`.
        """
        return {
            "protocol": self.rules.name,
            "dataset": self.dataset,
            "split": self.split,
            "ids_hash": hash_of_ids(self.reader.ids),
            "model": model,
            "checkpoint_hash": checkpoint_hash,
            "mask_rule": None if rule is None else rule.kind,
            "threshold": None if rule is None else rule.threshold,
            "threshold_chosen_on": None if rule is None else rule.chosen_on or None,
            "computed": computed,
            "presence": presence,
        }

    def check_result(self, header: dict[str, Any]) -> None:
        """Raises `InputError` where the result's file exists and is another model's, or no result at all."""
        if not self.out.exists():
            return
        found = Result.read(self.out)
        written, ours = (found.model, found.checkpoint_hash), (header["model"], header["checkpoint_hash"])
        same = written[1] == ours[1] if written[1] and ours[1] else written[0] == ours[0]
        if not same:
            retrained = ", with other weights" if written[0] == ours[0] else ""
            raise InputError(
                f"{self.out} is the result of the model {found.model!r}{retrained}; give this one of "
                f"{header['model']!r} another --out, or remove the old one."
            )

    def done(self, header: dict[str, Any], *, resume: bool) -> frozenset[str]:
        """The sentences that an interrupted evaluation has scored already."""
        if self.parts and not resume:
            raise InputError(
                f"{self.parts[0]} belongs to an evaluation that did not finish; continue with --resume, or remove it."
            )
        begun = [part for part in self.parts if mend(part)]
        # Broken records that are left out change which sentences there are, but not the scores of the others.
        expected = {name: value for name, value in header.items() if name != "ids_hash" or not self.issues}
        for part in begun:
            check_header(part, expected)
        return frozenset(scored.ids.sentence for part in begun for scored in read_records(part))

    def score_system(
        self, segmenter: Segmenter, scoring: Scoring, header: dict[str, Any], done: frozenset[str] = frozenset()
    ) -> None:
        """This process's part, each batch on disk before the next one begins."""
        self._write(
            self.part(scoring.rank),
            score_system(segmenter, self.whole or self.reader, self.rules, scoring, done),
            header,
        )

    def score_predictions(self, path: Path, header: dict[str, Any], *, allow_missing: bool = False) -> int:
        """Score a file of masks; returns the number of expressions without a mask, which are scored as empty masks.

        Unless `allow_missing`, raises `InputError` where there are any, with all their ids in a file beside the result.
        """
        for part in self.parts:  # those of an earlier attempt with this file are removed, another evaluation's are not
            if mend(part):
                check_header(part, header)
            part.unlink()
        if is_mask_files(path):
            return self._score_mask_files(path, header, allow_missing)
        if self.rules.davis is not None:
            raise InputError(
                f"The protocol {self.rules.name} compares label maps, in which objects compete for pixels; give "
                "--predictions a folder or a zip of PNGs, or evaluate the model itself."
            )
        # A file with masks for the whole split has some for the broken records that were left out.
        predictions = Predictions(path, self.reader, allow_unknown=bool(self.issues), left_out=self.left_out)
        try:
            self._write(self.part(0), _batches(predictions.scored(self.rules)), header)
            if predictions.num_unknown:
                self.issues.add(
                    f"{path}: {predictions.num_unknown:,} of its masks are for sentences that are not scored."
                )
            missing = predictions.missing
            self._list(missing)
            if missing and not allow_missing:
                raise self._refusal(path, missing)
            self._write(self.part(0), _batches(predictions.scored_missing(self.rules)), header)
        except DeixisError:
            self.part(0).unlink(missing_ok=True)
            raise
        return len(missing)

    def _score_mask_files(self, path: Path, header: dict[str, Any], allow_missing: bool) -> int:
        """As `score_predictions`, of a folder or a zip with one PNG for each frame of a clip."""
        scorer = FileScorer(MaskFiles.open(path), self.whole or self.reader, self.rules)
        try:
            self._write(self.part(0), _batches(scorer.scored()), header)
            self._list(scorer.missing)
            if scorer.missing and not allow_missing:
                raise self._refusal(path, scorer.missing)
        except DeixisError:
            self.part(0).unlink(missing_ok=True)
            raise
        return len(scorer.missing)

    def finish(
        self, header: dict[str, Any], *, run: dict[str, Any] | None, started: float, num_missing: int = 0
    ) -> Result:
        """Merge the records of all processes in the order of the split, and compute the totals."""
        parts = [part for part in self.parts if mend(part)]
        unscored = merge_shards(parts, self.records, header, [one.sentence for one in self.reader.ids])
        if unscored:
            raise InputError(f"{len(unscored)} expressions are not scored yet; run the same command with --resume.")
        totals = Totals(self.rules).add_all(read_records(self.records))
        measures, breakdowns = measure(totals, draws=self.draws, seed=self.seed)
        result = Result(
            protocol=self.rules.name,
            dataset=self.dataset,
            split=self.split,
            num_images=len(totals.overall.rows),
            num_objects=len({(one.image, one.object) for one in self.reader.ids}),
            num_expressions=len(self.reader),
            num_missing=num_missing,
            ids_hash=header["ids_hash"],
            model=header["model"],
            checkpoint_hash=header["checkpoint_hash"],
            run=run or None,
            mask_rule=header["mask_rule"],
            threshold=header["threshold"],
            threshold_chosen_on=header["threshold_chosen_on"] or "",
            computed=header["computed"],
            seed=self.seed,
            measures=measures,
            breakdowns=breakdowns,
            wall_seconds=round(time.perf_counter() - started, 3),
            machine=machine(),
            records=self.records.name,
            presence=self._presence(header),
            broken=tuple(self.issues.broken),
        )
        result.write(self.out)
        for part in self.parts:
            part.unlink()
        return result

    def _presence(self, header: dict[str, Any]) -> PresenceScores | None:
        head = header["presence"] or {}
        score = "presence head" if head else "file" if header["mask_rule"] is None else "mask"
        return presence_scores(read_records(self.records), score, draws=self.draws, seed=self.seed, **head)

    def _write(self, path: Path, batches: Iterator[list[Scored]], header: dict[str, Any]) -> None:
        with RecordWriter(path, header, self.rules) as writer:
            for batch in batches:
                writer.append(batch)
                self.advance(len(batch))

    def _list(self, missing: list[str]) -> None:
        self.missing.unlink(missing_ok=True)
        if missing:
            with replaced(self.missing) as beside:
                beside.write_text("\n".join(missing) + "\n", encoding="utf-8")

    def _refusal(self, path: Path, missing: list[str]) -> InputError:
        named = ", ".join(missing[:FEW]) + (", …" if len(missing) > FEW else "")
        return InputError(
            f"{path} has no mask for {len(missing):,} of {len(self.reader):,} expressions ({named}; all of them in "
            f"{self.missing}): add them, or count them as empty with --allow-missing."
        )


def presence_decision(segmenter: Segmenter, threshold: float | None) -> dict[str, Any] | None:
    """How a system's presence head decides that the referent is in the image; None without a head."""
    if not segmenter.has_presence:
        return None
    return {
        "calibrated": segmenter.calibration is not None,
        "threshold": segmenter.presence_rule.threshold if threshold is None else threshold,
    }


def machine() -> dict[str, str]:
    """The machine that a score was computed on."""
    found = {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _batches(scored: Iterator[Scored]) -> Iterator[list[Scored]]:
    batch: list[Scored] = []
    for one in scored:
        batch.append(one)
        if len(batch) == FLUSH:
            yield batch
            batch = []
    if batch:
        yield batch
