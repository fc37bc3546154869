"""`deixis data describe`: referring expressions from the boxes and masks of instances."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class DescribeArguments:
    """Write sentences about the instances of COCO's JSON, each true of one instance of its photo, as JSONL."""

    annotations: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="COCO.json")]
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.jsonl")]
    images: Path | None = None
    """The folder of the photos; by default `images` beside the JSON."""
    seed: int = 0
    """Of the drawn words and sentences."""
    sentences_per_object: int = 8
    """How many sentences are drawn for each instance; equal ones are written once."""
    smallest: float = 0.006
    """The smallest instance that is described, as a fraction of its photo."""
    absent: float = 0.15
    """The fraction of sentences with a word exchanged, so that they refer to nothing in their photo."""
    absent_nouns: float | None = None
    """Of these, the fraction whose noun is exchanged, for a class as frequent; by default every word, equally often."""
    license: Annotated[tuple[int, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="ID")] = ()
    """Only photos with this license, by its id in the file's `licenses`; several times for more. By default all."""
    people: Literal["all", "neutral"] = "all"
    """Words for people: all (man, girl, kid …, at random: COCO does not say who is which), or neutral."""
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Draw examples with their outlines."""
    skip_broken: bool = False
    """Leave out photos with broken records and list them at the end, instead of stopping at the first."""
    json: bool = False
    """Print one JSON object for programs."""


def write_descriptions(options: DescribeArguments) -> int:
    from ..data.describe.coco import describe_coco
    from ..data.describe.describing import DescribeOptions
    from ..data.tools.contact_sheet import contact_sheet
    from ..data.validation import Issues
    from ..predict.prediction import write_picture

    if options.out.suffix != ".jsonl":
        raise InputError(f"The output {options.out} is not JSONL; give a name that ends in .jsonl.")
    if options.sheet is not None and options.sheet.suffix.lower() != ".png":
        raise InputError(f"The sheet {options.sheet} is not a PNG; give a name that ends in .png.")
    chosen = DescribeOptions(
        seed=options.seed,
        sentences_per_object=options.sentences_per_object,
        smallest=options.smallest,
        absent=options.absent,
        absent_nouns=options.absent_nouns,
        licenses=options.license,
        people=options.people,
    )
    issues = Issues(skip=options.skip_broken)
    images = options.annotations.parent / "images" if options.images is None else options.images
    report = describe_coco(options.annotations, images, options.out, chosen, issues)
    if options.sheet is not None:
        write_picture(options.sheet, contact_sheet(report.panels))
    if options.json:
        facts = {name: getattr(report, name) for name in ("photos", "objects", "sentences", "kinds")}
        print(json.dumps({"out": str(options.out), **facts, "broken": issues.broken}, indent=2))
        return 0
    print(f"{report.sentences:,} sentences about {report.objects:,} objects in {report.photos:,} photos: {options.out}")
    for kind, count in report.kinds.most_common():
        print(f"{kind:<32}{count:>8,}")
    if options.skip_broken:
        print(issues.summary())
    return 0
