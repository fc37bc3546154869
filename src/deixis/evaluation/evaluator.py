"""Score a model, or a file of masks, on a split under a named protocol."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from ..data.validation import Issues, validate
from ..errors import InputError
from ..metrics.bootstrap import DRAWS
from ..metrics.protocols import protocol_named, protocol_of
from ..predict.segmenter import Segmenter
from ..progress import ProgressBar
from ..records import MaskRule, Reader
from . import ref_davis
from .job import Evaluation, presence_decision
from .report import Result
from .scoring import Scoring, limited
from .splits import SplitOptions, open_split


def evaluate(
    model: Segmenter | Callable[[], Segmenter],
    data: str | Path | Reader | SplitOptions,
    *,
    split: str | None = None,
    protocol: str = "full",
    out: str | Path | None = None,
    threshold: float | None = None,
    threshold_chosen_on: str = "",
    presence_threshold: float | None = None,
    skip_broken: bool = False,
    batch_size: int = 8,
    workers: int = 0,
    resume: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    quiet: bool = True,
) -> Result:
    """The scores of a model on a split, each with its 95% interval from a bootstrap over images.

    `model` may be a function that loads it, which is called when the data have been opened.
    `data` is a data set's folder, Toyland as `toyland:val`, a reader, or `SplitOptions` with all that chooses a split.
    The result is written to `out`, a `.json` file or a folder, with the records of every expression beside it, where
    `resume` continues an interrupted evaluation; without `out` no file is kept. Several processes (`accelerate
    launch`) share the split, and each returns the whole result. `threshold` replaces the threshold of the checkpoint's
    mask rule; `threshold_chosen_on` names the data on whose labels it was chosen, which the result then says, and
    `weak` becomes `labelled-threshold`. Broken records raise, or with `skip_broken` are left out and listed.
    """
    started = time.perf_counter()
    rank, ranks, wait = this_process(model.computed["device"] if isinstance(model, Segmenter) else None)
    hidden = quiet or rank > 0
    with _folder(out, ranks) as place:
        job = open_evaluation(data, split, protocol, place, skip_broken, draws, seed, quiet=hidden)
        scoring = Scoring(
            batch_size=batch_size,
            workers=workers,
            threshold=threshold,
            presence_threshold=presence_threshold,
            rank=rank,
            ranks=ranks,
        )
        segmenter = model if isinstance(model, Segmenter) else model()
        checkpoint = None if segmenter.weights is None else hash_of(segmenter.weights)
        if segmenter.alternatives is not None and segmenter.alternatives.loaders:
            names = " or ".join([segmenter.name, *segmenter.alternatives.loaders])
            raise InputError(f"The default is several models, and a score is that of one; choose {names}.")
        decision = presence_decision(segmenter, presence_threshold)
        rule = _stated(segmenter.mask_rule(threshold), threshold, threshold_chosen_on)
        job = _named(replace(job, rules=protocol_of(job.rules, rule)), place, segmenter.name)
        header = job.header(segmenter.name, checkpoint, rule, segmenter.computed, decision)
        job.check_result(header)
        done = job.done(header, resume=resume)
        wait()  # no process writes before all have read what is done
        with ProgressBar("expressions", len(job.reader), done=len(done), quiet=hidden) as bar:
            replace(job, advance=bar.advance).score_system(segmenter, scoring, header, done)
        wait()
        if rank == 0:
            job.finish(header, run=getattr(segmenter.card, "run", None), started=started)
        wait()
        return Result.read(job.out)


def evaluate_predictions(
    predictions: str | Path,
    data: str | Path | Reader | SplitOptions,
    *,
    split: str | None = None,
    protocol: str = "full",
    out: str | Path | None = None,
    allow_missing: bool = False,
    skip_broken: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    quiet: bool = True,
) -> Result:
    """The scores of a file of masks with one JSON object a line; the options are those of `evaluate`.

    Raises `InputError` where an expression has no mask, unless `allow_missing` counts it as an empty mask.
    """
    started, path = time.perf_counter(), Path(predictions)
    with _folder(out) as place:
        job = open_evaluation(data, split, protocol, place, skip_broken, draws, seed, quiet=quiet, look_at_images=False)
        job = _named(job, place, path.stem)
        header = job.header(path.name, None, None)
        job.check_result(header)
        with ProgressBar("expressions", len(job.reader), quiet=quiet) as bar:
            missing = replace(job, advance=bar.advance).score_predictions(path, header, allow_missing=allow_missing)
        return job.finish(header, run=None, started=started, num_missing=missing)


def open_evaluation(
    data: str | Path | Reader | SplitOptions,
    split: str | None,
    protocol: str,
    out: Path,
    skip_broken: bool,
    draws: int,
    seed: int,
    *,
    quiet: bool,
    look_at_images: bool = True,
) -> Evaluation:
    """The split opened, limited and, where broken records are skipped, validated."""
    if draws < 1 or seed < 0:
        raise InputError(
            f"The bootstrap has {draws} draws and the seed {seed}; expected 1 draw or more, and a seed of 0 or more."
        )
    rules, issues = protocol_named(protocol), Issues(skip=skip_broken)
    options = SplitOptions(data=str(data), split=split) if isinstance(data, str | Path) else data
    whole = open_split(options, issues, rules.overlaps) if isinstance(options, SplitOptions) else options
    reader = limited(whole, options.limit) if isinstance(options, SplitOptions) else whole
    left_out = {ids.sentence for ids in whole.ids} - {ids.sentence for ids in reader.ids}
    if skip_broken:
        with ProgressBar("checking", len(reader), quiet=quiet) as bar:
            reader = validate(reader, issues, bar.advance, look_at_images=look_at_images)
    if not len(reader):
        reason = f"all of them are broken: {issues.broken[0]}" if issues else "choose another split."
        raise InputError(f"The split has no expressions to score; {reason}")
    first, all_frames = reader[0], None
    if rules.davis is not None:
        if first.dataset != "ref-davis":
            raise InputError(f"The protocol {rules.name} is Ref-DAVIS17's, and the data are {first.dataset}; use rvos.")
        if len(reader) < len(whole):
            raise InputError(
                f"The protocol {rules.name} scores whole videos with all objects; omit --limit and --skip-broken."
            )
        reader, all_frames = ref_davis.counted(reader, rules.davis), reader
    named = (options.split if isinstance(options, SplitOptions) else split) or first.split
    file = result_file(out, "model", first.dataset, named, rules.name)
    _make(file.parent)
    return Evaluation(
        reader=reader,
        rules=rules,
        dataset=first.dataset,
        split=named,
        out=file,
        draws=draws,
        seed=seed,
        issues=issues,
        left_out=frozenset(left_out),
        whole=all_frames,
    )


def result_file(out: str | Path, model: str, dataset: str, split: str, protocol: str) -> Path:
    """`out` where it names a JSON file, else a file in that folder named after the model, the data and the protocol.

    Of a model's path the last two names count.
    """
    place = Path(out)
    if place.suffix == ".json":
        return place
    if place.suffix and not place.is_dir():
        raise InputError(f"The result {place} is JSON; give --out a folder, or a name that ends in .json.")
    # Data sets name themselves, and a name must not choose another folder.
    short = "-".join(PurePath(model).parts[-2:])
    return place / (re.sub(r"[^\w+.-]+", "-", f"{short}-{dataset}-{split}-{protocol}").lstrip("-") + ".json")


def this_process(device: str | None) -> tuple[int, int, Callable[[], None]]:
    """The number of this process, how many there are, and how to wait for the others.

    It also chooses each process's GPU, so with several processes call it before a model is loaded.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return 0, 1, lambda: None
    from accelerate import PartialState

    from ..training.processes import processes

    state = PartialState(cpu=True) if device == "cpu" else processes()
    return state.process_index, state.num_processes, state.wait_for_everyone


def _named(job: Evaluation, out: Path, model: str) -> Evaluation:
    """The same evaluation with the model's name in its result's."""
    return replace(job, out=result_file(out, model, job.dataset, job.split, job.rules.name))


@contextmanager
def _folder(out: str | Path | None, ranks: int = 1) -> Iterator[Path]:
    """`out`, or a folder that is removed afterwards."""
    if out is not None:
        yield Path(out)
        return
    if ranks > 1:
        raise InputError("Several processes share their records in files; give --out a folder.")
    with TemporaryDirectory() as folder:
        yield Path(folder)


def _stated(rule: MaskRule, threshold: float | None, chosen_on: str) -> MaskRule:
    """The rule, with the data that a threshold of the caller's was chosen on."""
    if chosen_on and threshold is None:
        raise InputError(
            f"{chosen_on!r} is given as the data of the threshold, but no threshold; give one, or omit the data."
        )
    return replace(rule, chosen_on=chosen_on) if chosen_on else rule


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}; give another --out.") from None


def hash_of(weights: Path) -> str:
    """SHA-256 of the weights' file, as `sha256sum` prints it."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
