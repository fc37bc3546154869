"""The split that is evaluated: a data set's, or one of Toyland, our generated world."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ..data.segmentation import Overlaps
    from ..data.validation import Issues
    from ..records import Reader

MOST_SKIPPED = 100_000_000  # scenes; further ones may belong to another split
SUBSETS = ("toyland", "toyland+", "toyland-g")
CLIPS = {f"{subset}-clips": subset for subset in SUBSETS}


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Which expressions of which data are scored."""

    data: str
    """A data set's folder, or Toyland as toyland:val, toyland+:testA, toyland-g:testB; clips: toyland-clips:val …"""
    split: str | None = None
    """The split; by default val, or the only one there is."""
    dataset: str | None = None
    """refcoco, refcoco+, refcocog …, where the folder holds several."""
    split_by: str | None = None
    """unc, umd or google."""
    scenes: int = 500
    """Scenes of Toyland."""
    skip_scenes: int = 0
    """Leave out so many scenes of Toyland's split, such as those of train that a model was trained on."""
    frames: int | None = None
    """Frames of each clip of Toyland; 16 by default."""
    no_target: float | None = None
    """Sentences a scene of Toyland that refer to nothing in it, on average."""
    limit: int | None = None
    """Score this many expressions, evenly spread over the split."""
    text_key: str | None = None
    """The key of the sentences in your own data, where it is not a usual one."""
    sentences: Literal["raw", "sent"] = "raw"
    """Of RefCOCO, RefCOCO+ and G-Ref: raw, or sent as their authors cleaned them and SaG reads them."""
    exif: Literal["turn", "ignore"] = "turn"
    """ignore: photos of your own data are read as stored, without turning them as EXIF says."""
    images: Path | None = None
    """The folder of the photos of your own data, where it is another one."""
    allow_outside: bool = False
    """Your own records may name files outside of their folder, by absolute paths and links."""

    @property
    def is_generated(self) -> bool:
        """Whether the data are Toyland's, rather than a folder of that name."""
        return self.data.partition(":")[0] in {*SUBSETS, *CLIPS} and not Path(self.data).exists()


def open_split(options: SplitOptions, issues: "Issues", overlaps: "Overlaps" = "union") -> "Reader":
    """A reader of the whole split, without the limit."""
    name, _, split = options.data.partition(":")
    if options.is_generated:
        _check_generated(options, split)
        from ..toyland.language.expressions import ExpressionOptions
        from ..toyland.world import FIRST_SEEDS, Toyland

        chosen = split or options.split or "val"
        skipped = options.skip_scenes and chosen in FIRST_SEEDS
        return Toyland(
            split=chosen,
            first_seed=FIRST_SEEDS[chosen] + options.skip_scenes if skipped else None,
            subset=CLIPS.get(name, name),
            num_scenes=options.scenes,
            num_frames=(options.frames or 16) if name in CLIPS else 1,
            expression_options=ExpressionOptions(no_target=options.no_target or 0.0),
        )
    if (split or name.startswith("toyland")) and "/" not in name and not Path(options.data).exists():
        raise InputError(f"There is no data set {name!r}. {did_you_mean(name, (*SUBSETS, *CLIPS))}")
    if options.no_target:
        raise InputError(
            f"--no-target {options.no_target:g} generates sentences, which only Toyland can; omit it, or give "
            "toyland:val as the data."
        )
    if options.skip_scenes:
        raise InputError(f"--skip-scenes {options.skip_scenes} is about Toyland; omit it, or give toyland:val.")
    if options.frames is not None:
        raise InputError(f"--frames {options.frames} is about Toyland's clips; omit it, or give toyland-clips:val.")

    from ..data.readers.formats import open_data
    from ..data.readers.options import ReadOptions

    read = ReadOptions(
        text_key=options.text_key,
        exif=options.exif,
        images=options.images,
        allow_outside=options.allow_outside,
        sentences=options.sentences,
    )
    return open_data(options.data, options.split, options.dataset, options.split_by, issues, overlaps, read)


def _check_generated(options: SplitOptions, split: str) -> None:
    """Raises `InputError` for options that Toyland does not have: they would name the score wrongly."""
    for name, value in (
        ("--dataset", options.dataset),
        ("--split-by", options.split_by),
        ("--text-key", options.text_key),
        ("--exif", None if options.exif == "turn" else options.exif),
        ("--images", options.images),
        ("--allow-outside", options.allow_outside or None),
        ("--sentences", None if options.sentences == "raw" else options.sentences),
        ("--frames", None if options.data.partition(":")[0] in CLIPS else options.frames),
    ):
        if value is not None:
            raise InputError(f"{options.data} is generated and has no {name}; omit it.")
    if not 0 <= options.skip_scenes <= MOST_SKIPPED:
        raise InputError(f"--skip-scenes is {options.skip_scenes}; expected 0 to {MOST_SKIPPED:,}.")
    if split and options.split not in (None, split):
        raise InputError(f"The data name the split {split!r}, but --split is {options.split!r}; give one of them.")
