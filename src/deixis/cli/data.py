"""`deixis data info|audit|convert`: look at data sets, find images that two share, write them as plain files."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ..data.tools.leakage import Audit
    from ..data.tools.statistics import SplitFacts, Spread
    from ..data.validation import Issues
    from ..records import Reader

USAGE = """\
usage: deixis data info PATH [--sheet OUT.png] [--check]
       deixis data audit A --against B
       deixis data convert PATH OUT --format jsonl|coco

Look at data sets as they were downloaded; nothing is converted first.

`deixis data VERB --help` says more."""

Path_ = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which data set of those at the path, and what to do with broken records."""

    dataset: str | None = None
    """refcoco, refcoco+, refcocog, grefcoco, phrasecut, folder or coco; found out by itself where one is there."""
    split_by: str | None = None
    """unc, umd or google."""
    skip_broken: bool = False
    """Leave broken records out and count them at the end, instead of stopping at the first."""
    json: bool = False
    """Print one JSON object for programs."""


@dataclass(frozen=True, kw_only=True)
class InfoOptions(Source):
    """What is there: splits, sentence lengths, mask sizes, and a contact sheet of examples."""

    path: Path_
    sheet: Path | None = None
    """Write examples as PNG."""
    split: str | None = None
    """Look at one split only."""
    examples: int = 12
    """How many examples the sheet shows."""
    check: bool = False
    """Read every image and mask to the last pixel."""


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Source):
    """Images that are in the training split of PATH and in the test splits of another set; exit code 1 if any are."""

    path: Path_
    against: Path
    """The data set whose test splits must not be trained on."""
    train_split: str = "train"
    """The split of PATH that is trained on."""
    test_split: str | None = None
    """The split of the other set; every split with test in its name if none is given, else val."""
    against_dataset: str | None = None
    """As --dataset, of the other set."""
    against_split_by: str | None = None
    """As --split-by, of the other set."""
    hash: bool = False
    """Compare what all images look like, even where ids tell which are the same."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Source):
    """Write any data set as JSONL with run-length masks, or as COCO JSON with captions, beside its images."""

    path: Path_
    out: Path_
    format: Literal["jsonl", "coco"] = "jsonl"
    """The layout to write."""
    split: str | None = None
    """Write one split only."""


def main(arguments: list[str]) -> int:
    """0: done; 1: the audit found shared images."""
    verbs: dict[str, tuple[type[Any], Callable[[Any], int]]] = {
        "info": (InfoOptions, _info),
        "audit": (AuditOptions, _audit),
        "convert": (ConvertOptions, _convert),
    }
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    verb, *rest = arguments
    if verb not in verbs:
        raise InputError(f"There is no command 'data {verb}'. {did_you_mean(verb, verbs)}")
    options, run = verbs[verb]
    try:
        parsed = tyro.cli(
            options,
            prog=f"deixis data {verb}",
            args=rest,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except SystemExit as stopped:  # tyro has already said why
        return int(stopped.code or 0)
    return run(parsed)


def _info(options: InfoOptions) -> int:
    from ..data.readers import formats as opening
    from ..data.tools import statistics as inspection
    from ..data.validation import Issues, validate

    issues = Issues(skip=options.skip_broken)
    name = opening.detect_format(options.path, options.dataset)
    readers: Mapping[str, Reader] = _open(options.path, options, options.split, issues)
    told = inspection.completeness(readers)
    if options.check:
        with _progress("checking", sum(map(len, readers.values()))) as advance:
            readers = {split: validate(reader, issues, advance) for split, reader in readers.items()}
    with _progress("looking", sum(map(inspection.num_looked_at, readers.values()))) as advance:
        facts = inspection.describe(readers, issues, advance)
    if options.sheet is not None:
        _write_sheet(readers, options.sheet, options.examples, issues)
    if options.json:
        splits = inspection.as_json(facts)
        _print_json({"path": str(options.path), "dataset": name, "completeness": told, "splits": splits}, issues)
    else:
        _show_facts(options.path, name, facts, told)
    _show_broken(issues, options)
    return 0


def _audit(options: AuditOptions) -> int:
    from ..data.tools.leakage import audit, images_of, needs_looks
    from ..data.validation import Issues

    issues = Issues(skip=options.skip_broken)
    ours = _open(options.path, options, None, issues)
    train = options.train_split if options.train_split in ours or len(ours) > 1 else next(iter(ours))
    if train not in ours:
        raise InputError(f"{options.path} has no split {train!r}; name one of {', '.join(ours)} with --train-split.")
    against = Source(dataset=options.against_dataset, split_by=options.against_split_by)
    theirs = _open(options.against, against, options.test_split, issues)
    if options.test_split is None:
        tests = [split for split in theirs if "test" in split] or [split for split in theirs if split == "val"]
        theirs = {split: theirs[split] for split in tests or theirs}
    found: dict[str, Audit] = {}
    for split, reader in theirs.items():
        pair = list(images_of(ours[train])), list(images_of(reader))
        total = sum(map(len, pair)) if options.hash or needs_looks(*pair) else 0
        with _progress(f"hashing {split}", total) as advance:
            found[split] = audit(ours[train], reader, options.hash, issues, advance)
    if options.json:
        told = {split: _audit_json(one) for split, one in found.items()}
        _print_json({"train": f"{options.path} {train}", "against": str(options.against), "splits": told}, issues)
    else:
        for split, one in found.items():
            _show_audit(f"{options.path} {train}", f"{options.against} {split}", one)
    _show_broken(issues, options)
    return 1 if any(one.shared for one in found.values()) else 0


def _convert(options: ConvertOptions) -> int:
    from ..data.tools.conversion import convert
    from ..data.validation import Issues

    issues = Issues(skip=options.skip_broken)
    readers = _open(options.path, options, options.split, issues)
    with _progress("converting", sum(map(len, readers.values()))) as advance:
        written = convert(readers, options.out, options.format, issues, advance)
    if options.json:
        _print_json({"out": str(options.out), "format": options.format, "samples": written}, issues)
    else:
        print(f"{written:,} samples of {', '.join(readers)} are in {options.out}")
    _show_broken(issues, options)
    return 0


def _open(path: Path, source: Source, split: str | None, issues: "Issues") -> "Mapping[str, Reader]":
    from ..data.readers.formats import open_data, open_splits

    if split is not None:
        return {split: open_data(path, split, source.dataset, source.split_by, issues)}
    return open_splits(path, source.dataset, source.split_by, issues)


def _write_sheet(readers: "Mapping[str, Reader]", out: Path, count: int, issues: "Issues") -> None:
    from PIL import Image

    from ..data.tools.contact_sheet import contact_sheet, examples
    from ..predict.prediction import write_picture

    if out.suffix.lower() != ".png":
        raise InputError(f"The sheet {out} must be a PNG; give a name that ends in .png.")
    share = max(1, -(-count // max(1, len(readers))))
    shown = [sample for reader in readers.values() for sample in examples(reader, share, issues)]
    write_picture(out, Image.fromarray(contact_sheet(shown[:count])))


def _show_facts(path: Path, name: str, facts: "Mapping[str, SplitFacts]", told: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{path}: {name}", caption=told or None, box=SIMPLE_HEAD, pad_edge=False)
    some_lack = any(one.with_empty_mask or one.without_mask for one in facts.values())
    headings = ["split", "images", "objects", "sentences", "words", "mask, % of image"]
    for heading in [*headings, "empty", "no mask"] if some_lack else headings:
        table.add_column(heading, justify="left" if heading == "split" else "right", no_wrap=True)
    for split, one in facts.items():
        counts = (f"{number:,}" for number in (one.images, one.objects, one.expressions))
        share = 100 / max(1, one.looked_at)
        rest = (f"{one.with_empty_mask * share:.0f}%", f"{one.without_mask * share:.0f}%") if some_lack else ()
        table.add_row(split, *counts, _spread(one.words, 1.0, 0), _spread(one.mask_shares, 100.0, 1), *rest)
    Console().print(table)


def _spread(spread: "Spread | None", factor: float, digits: int) -> str:
    """Smallest, median and largest."""
    if spread is None:
        return "-"
    values = (spread.smallest, spread.median, spread.largest)
    return " / ".join(f"{factor * value:.{digits}f}" for value in values)


def _show_audit(first: str, second: str, found: "Audit") -> None:
    how = "ids and looks" if found.compared_looks else "ids"
    sentences = f"{found.leaked_sentences:,} of {found.second_sentences:,} sentences"
    print(
        f"{first} ({found.first_images:,} images) against {second} ({found.second_images:,} images), by {how}: "
        f"{found.leaked_images:,} images and {sentences} are in both"
    )
    for one in found.shared[:20]:
        near = f", {one.distance} of 128 bits differ" if one.match == "looks" else ""
        print(f"  {one.first} = {one.second} (by {one.match}{near}; {one.sentences} sentences)")
    if len(found.shared) > 20:
        print(f"  … and {len(found.shared) - 20:,} more; --json lists all")


def _audit_json(found: "Audit") -> dict[str, Any]:
    return {
        "train_images": found.first_images,
        "test_images": found.second_images,
        "test_sentences": found.second_sentences,
        "shared_images": found.leaked_images,
        "shared_sentences": found.leaked_sentences,
        "compared_looks": found.compared_looks,
        "shared": [
            {
                "train_image": one.first,
                "test_image": one.second,
                "match": one.match,
                "sentences": one.sentences,
                "distance": one.distance,
            }
            for one in found.shared
        ],
    }


def _print_json(told: dict[str, Any], issues: "Issues") -> None:
    print(json.dumps({**told, "broken": issues.broken}, indent=2, ensure_ascii=False))


def _show_broken(issues: "Issues", options: Source) -> None:
    if options.skip_broken and not options.json:
        print(issues.summary(), file=sys.stderr)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr that shows itself where someone is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
