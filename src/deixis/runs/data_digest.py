"""What a run was trained on, as a digest in its folder: resuming it on other data is refused."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..checkpoints.configs import from_dict
from ..errors import InputError
from ..progress import ProgressBar
from ..records import Reader
from ..training.processes import processes
from .data import Data, ToylandData

DATA_FILE = "data.json"  # in a run's folder


@dataclass(frozen=True, kw_only=True)
class SplitDigest:
    """One split: its number of samples, and a SHA-256 of each part of them, in order."""

    samples: int
    ids: str
    expressions: str | None = None
    masks: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataDigest:
    """The splits that a run reads; `target` is the training split of the target domain."""

    training: SplitDigest
    validation: SplitDigest | None
    target: SplitDigest | None = None


def digest(
    data: Data, training: Reader, validation: Reader | None, target: Data | None = None, adapted: Reader | None = None
) -> DataDigest:
    """Of stored data every record is read, without its photo; `adapted` is the target domain's training split.

    Toyland's ids alone count: its expressions and masks follow from them and from the settings of the run, with which
    the drawn scenes are compared.
    """
    is_read, scored_is_read = not isinstance(data, ToylandData), not isinstance(target or data, ToylandData)
    splits = ((training, is_read), (validation, scored_is_read), (adapted, scored_is_read))
    total = sum(len(reader) for reader, read in splits if read and reader is not None)
    with ProgressBar("reading", total, quiet=not (total and processes().is_main_process)) as bar:
        first, *others = (None if reader is None else _split(reader, read, bar) for reader, read in splits)
    assert first is not None
    return DataDigest(training=first, validation=others[0], target=others[1])


def check_unchanged(out: Path, now: DataDigest) -> None:
    """Raises `InputError` with what changed since the run in `out` began."""
    file = out / DATA_FILE
    if not file.exists():
        return
    before = from_dict(DataDigest, json.loads(file.read_bytes()), str(file))
    changes = _changes("training", before.training, now.training)
    changes += _changes("validation", before.validation, now.validation)
    changes += _changes("the target", before.target, now.target)
    if changes:
        raise InputError(
            f"The data changed since the run in {out} began: {'; '.join(changes)}. Restore the data, start anew in "
            "another --out, or go on with the changed data by --data-changed."
        )


def _split(reader: Reader, read: bool, bar: ProgressBar) -> SplitDigest:
    ids, expressions, masks = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for one in reader.ids:
        ids.update(json.dumps([one.image, one.object, one.sentence]).encode())
    if not read:
        return SplitDigest(samples=len(reader), ids=ids.hexdigest())
    for position in range(len(reader)):
        sample = reader[position]
        expressions.update(json.dumps(sample.expression).encode())
        masks.update(json.dumps(sample.mask, sort_keys=True).encode())
        bar.advance()
    return SplitDigest(
        samples=len(reader), ids=ids.hexdigest(), expressions=expressions.hexdigest(), masks=masks.hexdigest()
    )


def _changes(split: str, before: SplitDigest | None, now: SplitDigest | None) -> list[str]:
    if before is None or now is None:
        return [] if before is now else [f"{split} {'is new' if before is None else 'is gone'}"]
    if before.samples != now.samples:
        return [f"{split} has {now.samples:,} samples, and had {before.samples:,}"]
    differing = [each.name for each in fields(before) if asdict(before)[each.name] != asdict(now)[each.name]]
    return [f"the {' and '.join(differing)} of {split} differ"] if differing else []
