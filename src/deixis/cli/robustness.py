"""`deixis evaluate --perturb KINDS`: the scores with changed sentences, beside those of the sentences as they are."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..data.subsets import Reworded
from ..errors import InputError
from ..evaluation.comparison import Difference, compare_totals
from ..evaluation.evaluator import evaluate, open_evaluation, result_file
from ..evaluation.job import Evaluation
from ..evaluation.record_files import read_records
from ..evaluation.report import Result
from ..files import replaced
from ..metrics.protocols import ScoringProtocol
from ..records import Reader
from ..text.perturbations import KINDS, Perturbation
from .compare import totals_beside

if TYPE_CHECKING:
    from ..predict.segmenter import Segmenter
    from .evaluate import EvaluateOptions

SHOWN = 3  # of each kind, the sentences whose IoU falls most


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sentence beside its changed form, and the IoU of the masks for both."""

    id: str
    original: str
    perturbed: str
    iou: float
    perturbed_iou: float


def kinds_of(given: str) -> tuple[str, ...]:
    """The kinds that `--perturb` names: separated by commas, or `all`."""
    kinds = tuple(KINDS) if given == "all" else tuple(kind.strip() for kind in given.split(","))
    for kind in kinds:
        Perturbation(kind=kind)  # raises where there is none
    return kinds


def robustness(options: "EvaluateOptions", kinds: tuple[str, ...]) -> None:
    """Score the split as it is and once with each kind; print each kind's difference, with its paired interval.

    Beside the results of `evaluate` it writes `…-perturbed.json`, with every kind's differences, and for each kind
    `….sentences.jsonl`, in which each sentence stands beside its changed form. With `resume` a kind whose result exists
    is not scored again.
    """
    split = open_evaluation(
        options,
        None,
        options.protocol,
        options.out,
        options.skip_broken,
        options.draws,
        options.seed,
        quiet=options.quiet,
    )
    segmenter = options.load(options.model or "", quiet=options.quiet)
    clean = _scored(segmenter, options, split, split.whole or split.reader, split.split)
    before = totals_beside(clean, Result.read(clean))
    samples = (split.reader[position] for position in range(len(split.reader)))
    sentences = {sample.ids.sentence: sample.expression for sample in samples}
    differences: dict[str, dict[str, Difference]] = {}
    examples: dict[str, list[Example]] = {}
    for kind in kinds:
        change = Perturbation(kind=kind, seed=options.perturb_seed)
        seed = f"-{options.perturb_seed}" if options.perturb_seed else ""
        reader = Reworded(split.whole or split.reader, change)
        path = _scored(segmenter, options, split, reader, f"{split.split}+{kind}{seed}")
        after = totals_beside(path, Result.read(path))
        differences[kind] = compare_totals(after, before, draws=options.draws, seed=options.seed)
        examples[kind] = _examples(sentences, change, clean, path, split.rules)
    place = clean.with_name(f"{clean.stem}-perturbed.json")
    _write(place, differences, examples, options)
    if options.json:
        print(place.read_text(encoding="utf-8"), end="")
        return
    _show(Result.read(clean), differences, examples)
    print(place)


def _scored(segmenter: "Segmenter", options: "EvaluateOptions", split: Evaluation, reader: Reader, name: str) -> Path:
    """The path of the result of the reader, which is computed unless it exists and `resume` is given."""
    path = result_file(options.out, segmenter.name, split.dataset, name, split.rules.name)
    if options.resume and path.exists():
        return path
    evaluate(
        segmenter,
        reader,
        split=name,
        protocol=options.protocol,
        out=path,
        threshold=options.threshold,
        threshold_chosen_on=options.threshold_chosen_on,
        presence_threshold=options.presence_threshold,
        batch_size=options.batch_size,
        workers=options.workers,
        resume=options.resume,
        draws=options.draws,
        seed=options.seed,
        quiet=options.quiet,
    )
    return path


def _examples(
    sentences: Mapping[str, str], change: Perturbation, clean: Path, path: Path, rules: ScoringProtocol
) -> list[Example]:
    """Every sentence with its changed form, those whose IoU falls most first; written beside the kind's result."""
    ious = [
        {one.ids.sentence: one.iou(rules) for one in read_records(file.with_name(Result.read(file).records))}
        for file in (clean, path)
    ]
    examples = [
        Example(id=key, original=sentence, perturbed=change(sentence), iou=ious[0][key], perturbed_iou=ious[1][key])
        for key, sentence in sentences.items()
    ]
    with replaced(path.with_suffix(".sentences.jsonl")) as beside:
        beside.write_text("".join(json.dumps(asdict(one)) + "\n" for one in examples), encoding="utf-8")
    return sorted(examples, key=lambda one: one.perturbed_iou - one.iou)


def _write(
    place: Path,
    differences: Mapping[str, Mapping[str, Difference]],
    examples: Mapping[str, list[Example]],
    options: "EvaluateOptions",
) -> None:
    report = {
        "seed": options.perturb_seed,
        "kinds": {
            kind: {
                "changed": sum(one.original != one.perturbed for one in examples[kind]),
                "expressions": len(examples[kind]),
                "differences": {name: asdict(one) for name, one in of_kind.items()},
                "worst": [asdict(one) for one in examples[kind][:SHOWN]],
            }
            for kind, of_kind in differences.items()
        },
    }
    with replaced(place) as beside:
        beside.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _show(
    clean: Result, differences: Mapping[str, Mapping[str, Difference]], examples: Mapping[str, list[Example]]
) -> None:
    names = [name for name in ("mIoU", "gIoU", "oIoU", "cIoU", "P@0.5", "A@0.5") if name in clean.measures][:3]
    table = Table(
        title=f"{clean.model} on {clean.dataset} {clean.split}, sentences changed, protocol {clean.protocol}",
        caption="points against the sentences as they are, with the 95% interval of a paired bootstrap over images",
    )
    for heading in ("sentences", "changed", *names):
        table.add_column(heading, justify="left" if heading == "sentences" else "right")
    table.add_row("as they are", "-", *(_number(clean.measures[name].value) for name in names))
    for kind, of_kind in differences.items():
        changed = sum(one.original != one.perturbed for one in examples[kind]) / len(examples[kind])
        table.add_row(kind, f"{100 * changed:.0f} %", *(_signed(of_kind[name]) for name in names))
    console = Console()
    console.print(table)
    for kind, worst in examples.items():
        for one in worst[:SHOWN]:
            line = f"{kind}: {one.original!r} -> {one.perturbed!r}: IoU {one.iou:.2f} -> {one.perturbed_iou:.2f}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(one: Difference) -> str:
    if one.difference is None:
        return "-"
    span = "" if one.low is None or one.high is None else f" ({one.low:+.2f} … {one.high:+.2f})"
    return f"{one.difference:+.2f}{span}"


def check(options: "EvaluateOptions") -> None:
    """Raises `InputError` for options that do not go together with several evaluations."""
    given = {
        "--predictions": options.predictions is not None,
        "--sweep-threshold": options.sweep_threshold,
        "--reliability": options.reliability is not None,
        "--out FILE.json": options.out.suffix == ".json",
    }
    for name, is_given in given.items():
        if is_given:
            raise InputError(f"--perturb scores the split several times and does not go together with {name}; omit it.")
