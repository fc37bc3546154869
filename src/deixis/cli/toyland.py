"""`deixis toyland draw` writes a contact sheet of Toyland; `deixis toyland write` writes it as a data set."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError, did_you_mean
from .options import parse

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..toyland.scene.domains import Domain

USAGE = """\
usage: deixis toyland draw [--out SHEET.png] [--seed N] [--count N] [--domain NAME] [--subset NAME]
       deixis toyland draw --clip [--out CLIP.mp4] [--frames N] [--seed N] [--domain NAME]
       deixis toyland write ROOT [--layout NAME] [--scenes N] [--subset NAME ...] [--full-size]

Draw a contact sheet of Toyland, the generated world, or write it as a data set in an official layout.
`deixis toyland draw --help` and `deixis toyland write --help` show all options."""

SPLITS = ("train", "val", "testA", "testB")
CLIP_LAYOUTS = ("a2d", "jhmdb", "refer-youtube-vos")


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Draw a contact sheet of scenes, each with an expression below it and the referent outlined, or one clip."""

    out: Path | None = None
    """File of the contact sheet (toyland.png), or of the clip (toyland.mp4): .mp4 and .gif are both written."""
    clip: bool = False
    """Draw one clip, with a sentence about motion below it and the referent outlined on every frame."""
    frames: int = 16
    """Frames of the clip."""
    seed: int = 0
    """Seed of the first scene."""
    count: int = 12
    """Number of scenes."""
    domain: str = "toyland"
    """Name of content, style and subset, such as sketch-street-g."""
    subset: Literal["toyland", "toyland+", "toyland-g"] | None = None
    """Subset of the expressions, instead of the domain's."""
    paraphrases: Literal["training", "held-out"] = "training"
    """List of words and sentence templates."""
    columns: int = 4
    """Images in a row."""
    side: int = 256
    """Side of an image in pixels."""

    def __post_init__(self) -> None:
        _check_least(self, {"count": 1, "columns": 1, "side": 32, "seed": 0, "frames": 8})


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Write a data set in an official layout, into a new folder that appears when it is complete."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """The new folder."""
    layout: Literal["refcoco", "grefcoco", "phrasecut", "a2d", "jhmdb", "refer-youtube-vos"] = "refcoco"
    """refcoco writes refcoco+ and refcocog too; the last three hold clips."""
    scenes: int = 20
    """Number of scenes, or of clips, in each split."""
    subset: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME")] = ()
    """For refcoco: write only toyland (as refcoco), toyland+ (refcoco+) or toyland-g (refcocog); may be repeated."""
    domain: str = "toyland"
    """Name of content and style."""
    size: int = 256
    """Side of an image in pixels."""
    frames: int = 16
    """Frames of each clip."""
    full_size: bool = False
    """RefCOCO at its published size: 142,209 sentences and 19,994 images, to test how readers scale."""

    def __post_init__(self) -> None:
        _check_least(self, {"scenes": 1, "size": 32, "frames": 8})


def main(arguments: list[str]) -> int:
    verbs: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
        "draw": (DrawOptions, _draw),
        "write": (WriteOptions, _write),
    }
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    verb, *rest = arguments
    if verb not in verbs:
        raise InputError(f"There is no command 'toyland {verb}'. {did_you_mean(verb, verbs)}")
    kind, run = verbs[verb]
    run(parse(kind, rest, f"deixis toyland {verb}"))
    return 0


def _check_least(options: DrawOptions | WriteOptions, least: dict[str, int]) -> None:
    for name, value in least.items():
        if (given := getattr(options, name)) < value:
            raise InputError(f"--{name} is {given}; expected {value} or more.")


def _draw(options: DrawOptions) -> None:
    from .. import masks
    from ..data.tools.contact_sheet import Panel, contact_sheet
    from ..progress import ProgressBar
    from ..toyland.world import Toyland

    if options.clip:
        _draw_clip(options)
        return
    out = options.out or Path("toyland.png")
    image_format = _image_format(out)
    domain = _domain(options.domain)
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
    with ProgressBar("drawing", options.count) as bar:
        for samples in world.scenes():
            for sample in samples[:1]:
                mask = masks.decode(sample.mask)
                panels.append(Panel(sample.visual.read()[0], sample.expression, mask, outlined=True))
                bar.advance()
            if len(panels) == options.count:
                break
    _save(contact_sheet(panels, options.columns, options.side), out, image_format)
    print(out)


def _draw_clip(options: DrawOptions) -> None:
    """The first clip from the seed on with a sentence that its motion is needed for, as MP4 and GIF."""
    import numpy as np
    from PIL.Image import Quantize

    from ..data.video_writer import video_writer
    from ..files import replaced
    from ..toyland.motion.clip import RATE

    out = options.out or Path("toyland.mp4")
    if out.suffix.lower() not in (".mp4", ".gif"):
        raise InputError(f"{out} cannot hold a clip: {out.suffix!r} is not a format of clips; use .mp4 or .gif.")
    video, animation = out.with_suffix(".mp4"), out.with_suffix(".gif")
    sheets = _sheets_of_clip(options)
    with video_writer(video) as writer:
        for number, sheet in enumerate(sheets):
            writer.add(np.asarray(sheet), number / RATE)
    with replaced(animation) as part:
        # By default, Pillow gives a small thing the colours of larger ones.
        first, *others = (sheet.quantize(method=Quantize.FASTOCTREE) for sheet in sheets)
        first.save(part, format="GIF", save_all=True, append_images=others, duration=1000 // RATE, loop=0)
    print(video, animation, sep="\n")


def _sheets_of_clip(options: DrawOptions) -> "list[Image]":
    """Every frame with the sentence below it and the referent outlined."""
    from ..data.tools.contact_sheet import Panel, contact_sheet
    from ..progress import ProgressBar
    from ..toyland.world import Toyland

    domain = _domain(options.domain)
    world = Toyland(
        subset=options.subset or domain.subset,
        num_scenes=50,
        num_frames=options.frames,
        style=domain.style.name,
        content=domain.content.name,
        size=options.side,
        sentences_per_object=1,
        paraphrases=options.paraphrases,
        first_seed=options.seed,
    )
    samples = ((position, sample) for position in range(world.num_scenes) for sample in world.scene(position))
    found = next(((at, sample) for at, sample in samples if sample.traits["needs_motion"]), None)
    if found is None:
        raise InputError(f"No clip from seed {options.seed} on has a sentence about motion; give another --seed.")
    position, sample = found
    clip, target = world.clip(position), sample.traits["targets"][0]
    sheets = []
    with ProgressBar("drawing", clip.num_frames) as bar:
        for frame in range(clip.num_frames):
            drawn = clip.frame(frame)
            panel = Panel(drawn.pixels, sample.expression, drawn.instances == target, outlined=True)
            sheets.append(contact_sheet([panel], 1, options.side).convert("RGB"))
            bar.advance()
    return sheets


def _write(options: WriteOptions) -> None:
    from ..progress import ProgressBar
    from ..toyland.export.full_size import write_full_size
    from ..toyland.export.grefcoco import write_grefcoco
    from ..toyland.export.phrasecut import write_phrasecut
    from ..toyland.export.refcoco import write_refcoco
    from ..toyland.export.trees import Tree
    from ..toyland.scene.domains import SUBSETS

    domain = _domain(options.domain)
    if options.layout in CLIP_LAYOUTS:
        _write_clips(options, domain)
        return
    tree = Tree(
        scenes=dict.fromkeys(SPLITS, options.scenes),
        subsets=options.subset or SUBSETS,
        style=domain.style.name,
        content=domain.content.name,
        size=options.size,
    )
    writers = {"refcoco": write_refcoco, "grefcoco": write_grefcoco, "phrasecut": write_phrasecut}
    with ProgressBar("writing", len(SPLITS) * (1 if options.full_size else options.scenes)) as bar:
        if options.full_size:
            write_full_size(options.root, progress=lambda *_: bar.advance())
        else:
            writers[options.layout](options.root, tree, lambda *_: bar.advance())
    print(options.root)


def _write_clips(options: WriteOptions, domain: "Domain") -> None:
    from ..progress import ProgressBar
    from ..toyland.export.clip_trees import ClipTree, write_a2d, write_jhmdb, write_refer_youtube_vos

    if options.full_size or len(options.subset) > 1:
        raise InputError(f"--layout {options.layout} holds clips of one subset; omit --full-size and other subsets.")
    tree = ClipTree(
        clips={"train": options.scenes, "val": options.scenes},
        subset=options.subset[0] if options.subset else domain.subset,
        style=domain.style.name,
        content=domain.content.name,
        size=options.size,
        num_frames=options.frames,
    )
    writers = {"a2d": write_a2d, "jhmdb": write_jhmdb, "refer-youtube-vos": write_refer_youtube_vos}
    num_splits = 1 if options.layout == "jhmdb" else 2
    with ProgressBar("writing", num_splits * options.scenes) as bar:
        writers[options.layout](options.root, tree, lambda *_: bar.advance())
    print(options.root)


def _domain(name: str) -> "Domain":
    from ..toyland.scene.domains import DOMAINS

    if name not in DOMAINS:
        raise InputError(f"Toyland has no domain {name!r}. {did_you_mean(name, DOMAINS)}")
    return DOMAINS[name]


def _image_format(out: Path) -> str:
    """Pillow's name of the format of the file's extension."""
    from PIL import Image

    image_format = Image.registered_extensions().get(out.suffix.lower(), "")
    if image_format not in Image.SAVE:
        raise InputError(f"{out} cannot be written: {out.suffix!r} is not an image format; use .png or .jpg.")
    return image_format


def _save(sheet: "Image", out: Path, image_format: str) -> None:
    """Write the whole sheet, or leave the earlier file."""
    from ..predict.prediction import write

    content = io.BytesIO()
    try:
        sheet.save(content, format=image_format)
    except (OSError, ValueError) as error:
        size = f"{sheet.width}x{sheet.height}"
        raise InputError(f"{out} cannot hold {size} pixels as {image_format} ({error}); use .png.") from error
    write(out, content.getvalue())
