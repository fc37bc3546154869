"""Execute a Run or a Chain: build the parts, train, and write the folder that it can be resumed from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from ..checkpoints import native
from ..checkpoints.configs import from_dict, to_dict
from ..compiling import check_compiler
from ..errors import InputError
from ..files import replaced
from ..records import Config
from ..text.tokenizer import SPECIAL
from ..training.loop import Result, train
from ..training.optim import parameter_groups
from ..training.processes import processes
from ..training.schedule import Schedule
from ..training.state import STATE
from ..weights import without_memory
from ..zoo.loading import CHAIN_FILE
from ..zoo.objectives import known_configs
from ..zoo.systems import name_of
from .data_digest import DATA_FILE, DataDigest, check_unchanged, digest
from .domain import write_domain
from .initialise import Earlier, start, start_words
from .objective_report import write_report
from .open_data import open_data, open_domains
from .run import Chain, Run, with_seed
from .streams import RunReaders, eval_batches, is_measurable, paired, source_batches, takes_pairs
from .vocabulary import check_length, tokenizer_of

RUN_FILE, RESULT_FILE = "run.json", "result.json"
_FREE_TO_CHANGE = {"workers", "packers", "domain_images"}  # they change no number


def execute(
    job: Run | Chain, out: Path, *, resume: bool = False, data_changed: bool = False, quiet: bool = False
) -> Result:
    """Train the job in its folder, or resume it there; the Result of a Chain is its last Run's.

    A Run that is resumed with more steps than it had goes on to these, at the rates of the longer schedule. Of a Chain,
    Runs that have not begun may have changed. Raises `InputError` where the folder holds another job, or this one and
    `resume` is not given, or where the data changed since and `data_changed` is not given.
    """
    is_new = _is_new(job, out, resume)
    if isinstance(job, Chain):
        return _chain(job, out, is_new, quiet, data_changed)
    if job.compiled:
        check_compiler()
    return _run(job, out, is_new, quiet, {}, data_changed)


def execute_seeds(
    job: Run | Chain,
    out: Path,
    count: int,
    *,
    resume: bool = False,
    data_changed: bool = False,
    quiet: bool = False,
) -> list[Result]:
    """Train the job `count` times in `out/seed-0`, `out/seed-1` …, each time with the next seed.

    To resume skips the seeds that are finished and starts those that have not begun. Ends early where a signal stops
    a seed.
    """
    results: list[Result] = []
    for number in range(count):
        folder = out / f"seed-{number}"
        goes_on = resume and holds_job(folder)
        results.append(execute(with_seed(job, number), folder, resume=goes_on, data_changed=data_changed, quiet=quiet))
        if not results[-1].finished:
            break
    return results


def holds_job(folder: Path) -> bool:
    return (folder / RUN_FILE).exists() or (folder / CHAIN_FILE).exists()


def read_job(folder: Path, *given: type[Config]) -> Run | Chain | None:
    """The Run or Chain that a folder holds, None where it holds none; `given` are configs of systems of your own."""
    path = folder / (CHAIN_FILE if (folder / CHAIN_FILE).exists() else RUN_FILE)
    if not path.exists():
        return None
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); choose another --out.") from error
    known = known_configs(*given)
    if path.name == CHAIN_FILE:
        return from_dict(Chain, plain, str(path), known)
    return from_dict(Run, plain, str(path), known)


def _chain(chain: Chain, out: Path, is_new: bool, quiet: bool, data_changed: bool) -> Result:
    for number, (name, run) in enumerate(chain.runs.items()):
        _check(run)
        _check_earlier(name, run, list(chain.runs)[:number])
    _write(out / CHAIN_FILE, to_dict(chain))  # of a resumed chain, Runs that have not begun may have changed
    earlier: dict[str, Path] = {}
    for number, (name, run) in enumerate(chain.runs.items(), start=1):
        folder = out / name
        if processes().is_main_process and not quiet:
            _print(f"{name}, run {number} of {len(chain.runs)}, in {folder}")
        begins = not (folder / RUN_FILE).exists()
        processes().wait_for_everyone()  # no process writes before all have looked
        try:
            result = _run(run, folder, begins, quiet, dict(earlier), data_changed)
        except InputError:
            if is_new and not earlier and not (folder / RUN_FILE).exists():  # nothing has begun
                _forget(out, folder)
            raise
        if not result.finished:
            break
        earlier[name] = folder
    return result


def _forget(out: Path, folder: Path) -> None:
    """Remove what a chain wrote that could not begin."""
    (out / CHAIN_FILE).unlink(missing_ok=True)
    (folder / native.VOCABULARY).unlink(missing_ok=True)
    for place in (folder, out):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _run(run: Run, out: Path, is_new: bool, quiet: bool, earlier: Earlier, data_changed: bool) -> Result:
    if not is_new and (result := _finished(out, run)) is not None:
        return result
    check_length(run)
    torch.manual_seed(run.seed)
    system = _build(run.system)
    is_fresh = not (out / STATE).exists()  # it holds every weight, and what the run started from may have been removed
    if is_fresh:
        start(system, run.start_from, earlier)
    readers = _open(run)
    read = digest(run.data, readers.training, readers.validation, run.target, readers.target)
    if not (is_new or data_changed):
        check_unchanged(out, read)
    if processes().is_main_process:
        for sentence in readers.warnings():
            _print(f"warning: {sentence}")
    tokenizer = tokenizer_of(run, readers.sentences, out, is_new, earlier)
    if is_fresh:
        start_words(system, run.start_from, tokenizer.vocabulary)
    source = source_batches(run, readers, tokenizer)
    objective = _objective(run, system, tokenizer.vocabulary, run.schedule.total(source.steps_per_epoch))
    if hasattr(objective, "use_folders"):
        objective.use_folders(out, earlier)
    validation = readers.validation
    result = train(
        objective,
        paired(run, source, readers, tokenizer) if takes_pairs(objective) else source,
        run.optimiser,
        run.schedule,
        out=out,
        publish=_Publisher(run, tokenizer.vocabulary),
        validation=None if validation is None else eval_batches(run, validation, tokenizer),
        preprocess=run.preprocess,
        mask_rule=run.mask_rule,
        precision=run.precision,
        seed=run.seed,
        compiled=run.compiled,
        quiet=quiet,
        choose_best=run.choose_best,
        on_start=lambda: _begin(out, run, read),
    )
    if result.finished:
        if hasattr(objective, "report") and processes().is_main_process:
            write_report(out, objective.report())
        if processes().is_main_process:
            write_domain(out, run, readers.training if readers.target is None else readers.target)
        _write(out / RESULT_FILE, asdict(result))
    return result


def _begin(out: Path, run: Run, read: DataDigest) -> None:
    if processes().is_main_process:
        (out / RESULT_FILE).unlink(missing_ok=True)  # of a run that is made longer
    _write(out / DATA_FILE, asdict(read))
    _write(out / RUN_FILE, to_dict(run))


@dataclass(frozen=True)
class _Publisher:
    """Writes weights as a checkpoint: of a system one that `deixis.load` opens, of a pre-training an encoder."""

    run: Run
    vocabulary: tuple[str, ...]

    def __call__(self, folder: Path, weights: dict[str, Tensor], scores: dict[str, float]) -> None:
        patterns = getattr(self.run.system, "publishes", ("*",))
        published = {
            name: tensor for name, tensor in weights.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
        card = native.Card(
            system=name_of(self.run.system),
            config=to_dict(self.run.system),
            preprocess=self.run.preprocess,
            description=self.run.description,
            mask_rule=self.run.mask_rule,
            scores={"training-loop": {"val": scores}} if scores else {},
            run=to_dict(self.run),
        )
        native.save(folder, published, card, self.vocabulary)


def _build(config: Any) -> nn.Module:
    return config.build()


def _objective(run: Run, system: nn.Module, vocabulary: tuple[str, ...], num_steps: int) -> Any:
    """Built for as many steps as the run has. Raises `InputError` where it needs a target domain that is not given."""
    config: Any = run.objective
    if getattr(config, "num_steps", 0) is None:
        config = replace(config, num_steps=num_steps)
    objective = config.build(system, vocabulary)
    if takes_pairs(objective) and run.target is None:
        raise InputError(
            f"{type(objective).__name__} adapts to a target domain, but the run has none; give its target."
        )
    return objective


def _open(run: Run) -> RunReaders:
    if run.target is None:
        training, validation = open_data(run.data)
        return RunReaders(training=training, validation=validation)
    domains = open_domains(run.data, run.target)
    measured = domains.validation if is_measurable(run, domains.validation) else None
    if measured is None and processes().is_main_process:
        _print(
            "The target has no validation split with masks: nothing is measured, and the last weights are the result."
        )
    return RunReaders(training=domains.source, validation=measured, target=domains.target)


def _check(run: Run) -> None:
    """Raises `InputError` for what a Run would refuse only when its turn comes, hours later."""
    if run.compiled:
        check_compiler()
    check_length(run)
    with without_memory():
        parameter_groups(_objective(run, _build(run.system), SPECIAL, run.schedule.steps or 1), run.optimiser)


def _check_earlier(name: str, run: Run, earlier: Sequence[str]) -> None:
    """Raises `InputError` where the objective reads a Run that is not there."""
    needed: Sequence[str] = getattr(run.objective, "needs_runs", ())
    absent = [one for one in needed if one not in earlier and not Path(one).is_dir()]
    if absent:
        raise InputError(f"The run {name!r} needs the run {absent[0]!r} before it in the chain, or its folder.")


def _finished(out: Path, run: Run) -> Result | None:
    """The Result of a Run that has ended, unless its weights were removed since, or its schedule is longer now."""
    path = out / RESULT_FILE
    if not path.exists() or not (out / STATE).with_name(native.WEIGHTS).exists():
        return None
    before = read_job(out, *_own_configs(run))
    if isinstance(before, Run) and _is_longer(before.schedule, run.schedule):
        return None
    return from_dict(Result, json.loads(path.read_bytes()), str(path))


def _is_longer(before: Schedule, now: Schedule) -> bool:
    """Whether nothing but the end differs, which is later."""
    same = replace(now, steps=before.steps, epochs=before.epochs) == before
    if before.steps is None or now.steps is None:
        return same and before.steps is now.steps and now.epochs > before.epochs
    return same and now.steps > before.steps


def _is_new(job: Run | Chain, out: Path, resume: bool) -> bool:
    """Whether the folder holds no job yet; one that it holds must be this job, to be resumed."""
    before = read_job(out, *_own_configs(job))
    if before is None and resume:
        raise InputError(f"{out} holds no run to resume; omit --resume, or give the run's folder as --out.")
    if before is None and (out / STATE).exists():
        raise InputError(f"{out} holds {STATE} but no {RUN_FILE} that describes the run; choose another --out.")
    if before is not None:
        longer = isinstance(before, Run) and isinstance(job, Run) and _is_longer(before.schedule, job.schedule)
        differences = _differences(to_dict(_begun(before, before, out)), to_dict(_begun(job, before, out)))
        if longer:
            differences = [each for each in differences if not each.startswith(("schedule.steps ", "schedule.epochs "))]
        if differences:
            raise InputError(
                f"{out} holds another run ({'; '.join(differences[:3])}); choose another --out.{_way_to_longer(job)}"
            )
        if not resume:
            raise InputError(f"{out} already holds this run; add --resume to resume it, or choose another --out.")
    processes().wait_for_everyone()  # no process writes before all have looked
    return before is None


def _begun(job: Run | Chain, before: Run | Chain, out: Path) -> Run | Chain:
    """Of a Chain the Runs up to the last one that has begun in the folder; the Runs after it may still change."""
    if isinstance(job, Run) or isinstance(before, Run):
        return job
    count = max((number for number, name in enumerate(before.runs, 1) if (out / name / RUN_FILE).exists()), default=1)
    return Chain(runs=dict(list(job.runs.items())[:count]))


def _way_to_longer(job: Run | Chain) -> str:
    if isinstance(job, Run):
        return " Resumed with more --schedule.steps, or epochs, a run goes on; nothing else of it can change."
    return " To train the result of a chain for longer, use `deixis train finetune --from` its folder."


def _own_configs(job: Run | Chain) -> list[type[Config]]:
    runs = [job] if isinstance(job, Run) else job.runs.values()
    return [type(config) for run in runs for config in (run.system, run.objective)]


def _print(sentence: str) -> None:
    Console(stderr=True).print(sentence, highlight=False, soft_wrap=True, markup=False)


def _write(path: Path, plain: Mapping[str, Any]) -> None:
    """On the main process; it appears whole or not at all."""
    if processes().is_main_process:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as beside:
            beside.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name in sorted({*before, *after} - _FREE_TO_CHANGE):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} is {old} there, {new} here")
    return found
