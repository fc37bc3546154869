"""`deixis data info|audit|convert|describe`: look at data sets, find shared images, write plain files and sentences."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError, did_you_mean
from ..progress import ProgressBar
from .data_tables import audit_as_json, print_audit, print_facts
from .describe import DescribeArguments, write_descriptions
from .options import parse

if TYPE_CHECKING:
    from ..data.readers.options import ReadOptions
    from ..data.tools.leakage import Audit
    from ..data.validation import Issues
    from ..records import Reader

USAGE = """\
usage: deixis data info PATH [--sheet OUT.png] [--check]
       deixis data audit A --against B
       deixis data convert PATH OUT --format jsonl|coco
       deixis data describe COCO.json OUT.jsonl [--images FOLDER] [--sheet OUT.png]

Look at data sets as they were downloaded, or at your own: docs/own-data.md lists what is read.

`deixis data VERB --help` shows the options of a verb."""

DataPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which data set at the path is read, and how."""

    dataset: str | None = None
    """refcoco, refcoco+, refcocog, grefcoco, phrasecut, a2d, jhmdb, refer-youtube-vos, ref-davis, mevis, folder, clips
    or coco; detected where the path holds one."""
    split_by: str | None = None
    """The authors of the splits: unc, umd or google."""
    text_key: str | None = None
    """The key of the sentences in your own records, where it is not a usual one."""
    exif: Literal["turn", "ignore"] = "turn"
    """Turn your own photos upright as EXIF says, or read them as stored."""
    images: Path | None = None
    """The folder of the photos of your own records, where it is not PATH."""
    allow_outside: bool = False
    """Your own records may name files outside of their folder, by absolute paths and links."""
    skip_broken: bool = False
    """Leave out broken records and list them at the end, instead of stopping at the first."""
    json: bool = False
    """Print one JSON object for programs."""


@dataclass(frozen=True, kw_only=True)
class InfoOptions(Source):
    """Show the splits, the lengths of the sentences and the sizes of the masks."""

    path: DataPath
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Draw examples with their masks."""
    split: str | None = None
    """Look at one split only."""
    examples: int = 12
    """How many examples the sheet shows."""
    check: bool = False
    """Read every image and every mask completely."""


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Source):
    """Find images of PATH's training split in the test splits of another set; the exit code is 1 if there are any."""

    path: DataPath
    against: Path
    """The data set whose test splits must not be trained on."""
    train_split: str = "train"
    """The split of PATH that is trained on."""
    test_split: str | None = None
    """The split of the other set; without it every split with test in its name, or else val."""
    against_dataset: str | None = None
    """As --dataset, of the other set."""
    against_split_by: str | None = None
    """As --split-by, of the other set."""
    hash: bool = False
    """Compare how all images look, also where their ids are known."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Source):
    """Write a data set as JSONL with run-length masks, or as COCO JSON with captions, beside its images."""

    path: DataPath
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
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
        "describe": (DescribeArguments, write_descriptions),
    }
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    verb, *rest = arguments
    if verb not in verbs:
        raise InputError(f"There is no command 'data {verb}'. {did_you_mean(verb, verbs)}")
    options, run = verbs[verb]
    try:
        parsed = parse(options, rest, f"deixis data {verb}")
    except SystemExit:  # the help is printed
        return 0
    return run(parsed)


def _info(options: InfoOptions) -> int:
    from ..data.readers import formats
    from ..data.tools import statistics
    from ..data.validation import Issues, validate

    issues = Issues(skip=options.skip_broken)
    name = formats.detect_format(options.path, options.dataset)
    readers: Mapping[str, Reader] = _open(options.path, options, options.split, issues)
    completeness = statistics.completeness(readers)
    if options.check:
        with ProgressBar("checking", sum(map(len, readers.values()))) as bar:
            readers = {split: validate(reader, issues, bar.advance) for split, reader in readers.items()}
    with ProgressBar("measuring", sum(map(statistics.num_sampled, readers.values()))) as bar:
        facts = statistics.describe(readers, issues, bar.advance)
    if options.sheet is not None:
        _write_sheet(readers, options.sheet, options.examples, issues)
    if options.json:
        splits = statistics.as_json(facts)
        _print_json(
            {"path": str(options.path), "dataset": name, "completeness": completeness, "splits": splits}, issues
        )
    else:
        print_facts(f"{options.path}: {name}", facts, completeness)
    _print_broken(issues, options)
    if options.check and not options.json:
        print(issues.check_summary())
    return 0


def _audit(options: AuditOptions) -> int:
    from ..data.tools.leakage import audit, images_of, needs_looks
    from ..data.validation import Issues

    issues = Issues(skip=options.skip_broken)
    ours = _open(options.path, options, None, issues)
    train = options.train_split if options.train_split in ours or len(ours) > 1 else next(iter(ours))
    if train not in ours:
        raise InputError(f"{options.path} has no split {train!r}; name one of {', '.join(ours)} with --train-split.")
    against = Source(dataset=options.against_dataset, split_by=options.against_split_by, exif=options.exif)
    theirs = _open(options.against, against, options.test_split, issues)
    if options.test_split is None:
        tests = [split for split in theirs if "test" in split] or [split for split in theirs if split == "val"]
        theirs = {split: theirs[split] for split in tests or theirs}
    found: dict[str, Audit] = {}
    for split, reader in theirs.items():
        pair = list(images_of(ours[train])), list(images_of(reader))
        total = sum(map(len, pair)) if options.hash or needs_looks(*pair) else 0
        with ProgressBar(f"hashing {split}", total) as bar:
            found[split] = audit(ours[train], reader, options.hash, issues, bar.advance)
    if options.json:
        splits = {split: audit_as_json(one) for split, one in found.items()}
        _print_json({"train": f"{options.path} {train}", "against": str(options.against), "splits": splits}, issues)
    else:
        for split, one in found.items():
            print_audit(f"{options.path} {train}", f"{options.against} {split}", one)
    _print_broken(issues, options)
    return 1 if any(one.shared for one in found.values()) else 0


def _convert(options: ConvertOptions) -> int:
    from ..data.tools.conversion import convert
    from ..data.validation import Issues, counted

    issues = Issues(skip=options.skip_broken)
    readers = _open(options.path, options, options.split, issues)
    with ProgressBar("converting", sum(map(len, readers.values()))) as bar:
        written = convert(readers, options.out, options.format, issues, bar.advance)
    if options.json:
        _print_json({"out": str(options.out), "format": options.format, "samples": written}, issues)
    else:
        print(f"Wrote {counted(written, 'sample', 'samples')} of {', '.join(readers)} to {options.out}")
    _print_broken(issues, options)
    return 0


def _open(path: Path, source: Source, split: str | None, issues: "Issues") -> "Mapping[str, Reader]":
    from ..data.readers.formats import open_data, open_splits

    read = _read_options(source)
    if split is not None:
        return {split: open_data(path, split, source.dataset, source.split_by, issues, options=read)}
    return open_splits(path, source.dataset, source.split_by, issues, options=read)


def _read_options(source: Source) -> "ReadOptions":
    from ..data.readers.options import ReadOptions

    return ReadOptions(
        text_key=source.text_key, exif=source.exif, images=source.images, allow_outside=source.allow_outside
    )


def _write_sheet(readers: "Mapping[str, Reader]", out: Path, count: int, issues: "Issues") -> None:
    from ..data.tools.contact_sheet import contact_sheet, examples, panel_of
    from ..predict.prediction import write_picture

    if out.suffix.lower() != ".png":
        raise InputError(f"The sheet {out} is not a PNG; give a name that ends in .png.")
    share = max(1, -(-count // max(1, len(readers))))
    shown = [sample for reader in readers.values() for sample in examples(reader, share, issues)]
    write_picture(out, contact_sheet([panel_of(sample) for sample in shown[:count]]))


def _print_json(content: dict[str, Any], issues: "Issues") -> None:
    print(json.dumps({**content, "broken": [*issues.broken, *issues.dropped]}, indent=2, ensure_ascii=False))


def _print_broken(issues: "Issues", options: Source) -> None:
    if options.skip_broken and not options.json:
        print(issues.summary(), file=sys.stderr)
