"""`deixis toyland draw` and `deixis toyland write`: look at our own world, and write it as data sets."""

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
usage: deixis toyland draw [--out SHEET.png] [--seed N] [--count N] [--domain NAME] [--register NAME]
       deixis toyland write ROOT [--layout NAME] [--scenes N] [--registers NAME ...] [--full-size]

Draw a contact sheet of our own world, or write a data set tree of it in an official layout.
`deixis toyland draw --help` and `deixis toyland write --help` show every option."""

Register = Literal["toyland", "toyland+", "toyland-g"]
Layout = Literal["refcoco", "grefcoco", "phrasecut"]
SPLITS = ("train", "val", "testA", "testB")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A sheet of scenes, each with an expression under it and its referent outlined."""

    out: Path = Path("toyland.png")
    """where the sheet goes"""
    seed: int = 0
    """the first scene's seed"""
    count: int = 12
    """how many scenes"""
    domain: str = "toyland"
    """content, style and register by one name, such as sketch-street-g"""
    register: Register | None = None
    """how to speak, instead of the domain's own register"""
    paraphrases: Literal["training", "held-out"] = "training"
    """which list of words"""
    columns: int = 4
    """pictures in a row"""
    side: int = 256
    """pixels of a picture"""


@dataclass(frozen=True, kw_only=True)
class Write:
    """A tree in an official layout; it appears when it is complete, and never over another."""

    root: Annotated[Path, tyro.conf.Positional]
    """the new folder"""
    layout: Layout = "refcoco"
    """refcoco also writes refcoco+ and refcocog beside it"""
    scenes: int = 20
    """scenes in each split"""
    registers: tuple[Register, ...] = field(default=("toyland", "toyland+", "toyland-g"))
    """for refcoco: which of refcoco, refcoco+ and refcocog to write"""
    domain: str = "toyland"
    """content and style by one name"""
    size: int = 256
    """pixels of a picture's side"""
    full_size: bool = False
    """RefCOCO at its published size, 142,209 sentences about 19,994 images, for tests of scale"""


def main(arguments: list[str]) -> int:
    """0: done; the errors a user may make are DeixisErrors."""
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
    """The options as their dataclass, None after --help; a mistake is one sentence instead of tyro's frame."""
    known = [f"--{each.name.replace('_', '-')}" for each in fields(form)]
    for option in arguments:
        name = option.split("=")[0].replace("_", "-")
        if option.startswith("--") and name not in (*known, "--help"):
            raise InputError(f"`deixis toyland {verb}` has no option {name!r}. {did_you_mean(name, known)}")
    complained = io.StringIO()
    try:
        with redirect_stderr(complained):
            return tyro.cli(
                form,
                args=arguments,
                prog=f"deixis toyland {verb}",
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as ending:
        if not ending.code:
            return None
        plain = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]+", " ", complained.getvalue()).split())
        raise InputError(f"The options do not fit: {plain}") from None


def _draw(options: Draw) -> None:
    from .. import masks
    from ..toyland.domains import DOMAINS
    from ..toyland.sheet import Panel, contact_sheet
    from ..toyland.world import Toyland

    layout = _picture_format(options.out)
    if options.domain not in DOMAINS:
        raise InputError(f"Toyland has no domain {options.domain!r}. {did_you_mean(options.domain, DOMAINS)}")
    if min(options.count, options.columns) < 1 or options.side < 32 or options.seed < 0:
        raise InputError("A sheet needs a count and columns of at least 1, a side of at least 32 and a seed.")
    domain = DOMAINS[options.domain]
    world = Toyland(
        register=options.register or domain.register,
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
    with _progress() as tell:
        for samples in world.scenes():
            for sample in samples[:1]:
                mask = masks.decode(sample.mask)
                panels.append(Panel(sample.visual.read()[0], sample.expression, mask))
            tell("drawing", len(panels), options.count)
            if len(panels) == options.count:
                break
    _save(contact_sheet(panels, options.columns, options.side), options.out, layout)
    print(options.out)


def _picture_format(out: Path) -> str:
    """Pillow's name of the format that the file's ending asks for."""
    from PIL import Image

    layout = Image.registered_extensions().get(out.suffix.lower(), "")
    if layout not in Image.SAVE:
        raise InputError(f"{out} cannot be written, as {out.suffix!r} is no kind of picture; name a .png or .jpg file.")
    return layout


def _save(sheet: "Image", out: Path, layout: str) -> None:
    """The sheet is there whole, or what was there before is."""
    from ..predict.prediction import write

    content = io.BytesIO()
    try:
        sheet.save(content, format=layout)
    except (OSError, ValueError) as error:
        size = f"{sheet.width}x{sheet.height}"
        raise InputError(f"{out} cannot hold {size} pixels as {layout} ({error}); name a .png file.") from error
    write(out, content.getvalue())


def _write(options: Write) -> None:
    from ..toyland.domains import DOMAINS
    from ..toyland.full_size import write_full_size
    from ..toyland.writers import Tree, write_refcoco
    from ..toyland.writers_several import write_grefcoco, write_phrasecut

    if options.domain not in DOMAINS:
        raise InputError(f"Toyland has no domain {options.domain!r}. {did_you_mean(options.domain, DOMAINS)}")
    if min(options.scenes, len(options.registers)) < 1 or options.size < 32:
        raise InputError("A tree needs at least one scene a split, one register and pictures of 32 pixels.")
    with _progress() as tell:
        if options.full_size:
            write_full_size(options.root, progress=tell)
        else:
            tree = Tree(
                scenes=dict.fromkeys(SPLITS, options.scenes),
                registers=options.registers,
                style=DOMAINS[options.domain].style.name,
                content=DOMAINS[options.domain].content.name,
                size=options.size,
            )
            writers = {"refcoco": write_refcoco, "grefcoco": write_grefcoco, "phrasecut": write_phrasecut}
            writers[options.layout](options.root, tree, tell)
    print(options.root)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each thing that is reported, on stderr where it is a terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield tell
