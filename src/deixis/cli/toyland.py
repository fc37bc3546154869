"""`deixis toyland draw` writes a contact sheet of Toyland; `deixis toyland write` writes it as a data set."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image

USAGE = """\
usage: deixis toyland draw [--out SHEET.png] [--seed N] [--count N] [--domain NAME] [--subset NAME]
       deixis toyland write ROOT [--layout NAME] [--scenes N] [--subsets NAME ...] [--full-size]

Draw a contact sheet of Toyland, the generated world, or write it as a data set in an official layout.
`deixis toyland draw --help` and `deixis toyland write --help` show all options."""

Subset = Literal["toyland", "toyland+", "toyland-g"]
Layout = Literal["refcoco", "grefcoco", "phrasecut"]
SPLITS = ("train", "val", "testA", "testB")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A contact sheet of scenes, each with an expression below it and the referent outlined."""

    out: Path = Path("toyland.png")
    """file of the contact sheet"""
    seed: int = 0
    """seed of the first scene"""
    count: int = 12
    """number of scenes"""
    domain: str = "toyland"
    """name of content, style and subset, such as sketch-street-g"""
    subset: Subset | None = None
    """subset of the expressions (default: the domain's)"""
    paraphrases: Literal["training", "held-out"] = "training"
    """list of words and sentence templates"""
    columns: int = 4
    """images in a row"""
    side: int = 256
    """side of an image in pixels"""


@dataclass(frozen=True, kw_only=True)
class Write:
    """A data set in an official layout, in a new folder that appears when it is complete."""

    root: Annotated[Path, tyro.conf.Positional]
    """the new folder"""
    layout: Layout = "refcoco"
    """refcoco writes refcoco+ and refcocog too"""
    scenes: int = 20
    """number of scenes in each split"""
    subsets: tuple[Subset, ...] = field(default=("toyland", "toyland+", "toyland-g"))
    """for refcoco: toyland, toyland+ and toyland-g become refcoco, refcoco+ and refcocog"""
    domain: str = "toyland"
    """name of content and style"""
    size: int = 256
    """side of an image in pixels"""
    full_size: bool = False
    """RefCOCO at its published size: 142,209 sentences and 19,994 images, to test how readers scale"""


def main(arguments: list[str]) -> int:
    """Exit code 0; raises DeixisError for errors of the user."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    verb, *rest = arguments
    forms = {"draw": Draw, "write": Write}
    if verb not in forms:
        raise InputError(f"`deixis toyland` has no {verb!r}. {did_you_mean(verb, forms)}")
    options = _parsed(forms[verb], verb, rest)
    if isinstance(options, Draw):
        _draw(options)
    elif isinstance(options, Write):
        _write(options)
    return 0


def _parsed(form: type[Draw] | type[Write], verb: str, arguments: list[str]) -> Draw | Write | None:
    """The options, or None after --help; raises InputError with one sentence instead of tyro's frame."""
    known = [f"--{each.name.replace('_', '-')}" for each in fields(form)]
    for option in arguments:
        name = option.split("=")[0].replace("_", "-")
        if option.startswith("--") and name not in (*known, "--help"):
            raise InputError(f"`deixis toyland {verb}` has no option {name!r}. {did_you_mean(name, known)}")
    messages = io.StringIO()
    try:
        with redirect_stderr(messages):
            return tyro.cli(
                form,
                args=arguments,
                prog=f"deixis toyland {verb}",
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as ending:
        if not ending.code:
            return None
        plain = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]+", " ", messages.getvalue()).split())
        raise InputError(f"The options are invalid: {plain}") from None


def _draw(options: Draw) -> None:
    from .. import masks
    from ..toyland.export.sheet import Panel, contact_sheet
    from ..toyland.scene.domains import DOMAINS
    from ..toyland.world import Toyland

    layout = _image_format(options.out)
    if options.domain not in DOMAINS:
        raise InputError(f"Toyland has no domain {options.domain!r}. {did_you_mean(options.domain, DOMAINS)}")
    if min(options.count, options.columns) < 1 or options.side < 32 or options.seed < 0:
        raise InputError("Expected --count and --columns of 1 or more, --side of 32 or more and --seed of 0 or more.")
    domain = DOMAINS[options.domain]
    world = Toyland(
        subset=options.subset or domain.subset,
        num_scenes=10 * options.count,
        style=domain.style.name,
        content=domain.content.name,
        size=options.side,
        sentences_per_object=1,
        objects_per_scene=1,
        paraphrases=options.paraphrases,
        first_seed=options.seed,
    )
    panels: list[Panel] = []
    with _progress() as report:
        for samples in world.scenes():
            for sample in samples[:1]:
                mask = masks.decode(sample.mask)
                panels.append(Panel(sample.visual.read()[0], sample.expression, mask))
            report("drawing", len(panels), options.count)
            if len(panels) == options.count:
                break
    _save(contact_sheet(panels, options.columns, options.side), options.out, layout)
    print(options.out)


def _image_format(out: Path) -> str:
    """Pillow's name of the format of the file's extension."""
    from PIL import Image

    layout = Image.registered_extensions().get(out.suffix.lower(), "")
    if layout not in Image.SAVE:
        raise InputError(f"{out} cannot be written: {out.suffix!r} is not an image format; use .png or .jpg.")
    return layout


def _save(sheet: "Image", out: Path, layout: str) -> None:
    """Write the whole sheet, or leave the earlier file."""
    from ..predict.prediction import write

    content = io.BytesIO()
    try:
        sheet.save(content, format=layout)
    except (OSError, ValueError) as error:
        size = f"{sheet.width}x{sheet.height}"
        raise InputError(f"{out} cannot hold {size} pixels as {layout} ({error}); use .png.") from error
    write(out, content.getvalue())


def _write(options: Write) -> None:
    from ..toyland.export.full_size import write_full_size
    from ..toyland.export.grefcoco import write_grefcoco
    from ..toyland.export.phrasecut import write_phrasecut
    from ..toyland.export.refcoco import write_refcoco
    from ..toyland.export.trees import Tree
    from ..toyland.scene.domains import DOMAINS

    if options.domain not in DOMAINS:
        raise InputError(f"Toyland has no domain {options.domain!r}. {did_you_mean(options.domain, DOMAINS)}")
    if min(options.scenes, len(options.subsets)) < 1 or options.size < 32:
        raise InputError("Expected --scenes of 1 or more, at least one of --subsets and --size of 32 or more.")
    with _progress() as report:
        if options.full_size:
            write_full_size(options.root, progress=report)
        else:
            tree = Tree(
                scenes=dict.fromkeys(SPLITS, options.scenes),
                subsets=options.subsets,
                style=DOMAINS[options.domain].style.name,
                content=DOMAINS[options.domain].content.name,
                size=options.size,
            )
            writers = {"refcoco": write_refcoco, "grefcoco": write_grefcoco, "phrasecut": write_phrasecut}
            writers[options.layout](options.root, tree, report)
    print(options.root)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each name that is reported, on stderr if it is a terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield report
