"""What a run reads, as plain records: names, paths and numbers. `open_data` opens them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..data.batches import check_limit
from ..errors import InputError, did_you_mean
from ..toyland.language.expressions import ExpressionOptions
from ..toyland.scene.domains import CONTENTS, STYLES, Domain, SubsetName
from ..toyland.world import check_frames

Labels = Literal["masks", "none", "pictures"]
HELD_OUT = "held-out"
Draw = Literal["object", "sentence", "image"]
MOST_SCENES = 200_000_000  # of a split of Toyland; the next ones belong to another split


@dataclass(frozen=True, kw_only=True)
class StoredData:
    """A data set under `root`: a published one, as its authors publish it, or your own.

    `dataset` is refcoco, refcoco+, refcocog, grefcoco, phrasecut, folder (JSONL), coco (JSON with captions); of videos
    a2d, jhmdb, refer-youtube-vos, ref-davis, mevis, clips (JSONL); a function of your own as `my_file:open_splits`
    (docs/extending.md), or None to detect it. Your own records are checked before
    the first step. With `skip_broken` all images are decoded too, and broken records are listed and left out. With
    `labels="none"` no mask of the training split is read or checked; with `labels="pictures"` no sentence either.

    Of your own data `text_key` is the key of the sentences, where it is not a usual one, and `images` the folder of the
    photos, where it is not `root`. `exif="ignore"` reads photos as stored. With `allow_outside` records may name files
    outside of the folder, by absolute paths and links.

    `sentences` are those of RefCOCO, RefCOCO+ and G-Ref: `raw` as LAVT and its followers read them, or `sent`, cleaned
    by the data sets' authors, as SaG does.

    An epoch draws one sentence of each object (as published), every `sentence`, or one sentence of each `image`. Of
    clips a sentence at each of its frames counts.

    With `mirrored` each training sample is there twice, as it is and in a mirror, with left and right exchanged in its
    sentence.

    With `held_out`, a fraction of the training split's images or videos, chosen by hashes of their names, is taken out
    of it and becomes the split `held-out`.
    """

    root: str = "data"
    dataset: str | None = None
    split_by: str | None = None  # unc; for refcocog umd or google
    train_split: str = "train"
    validation_split: str = "val"
    labels: Labels = "masks"
    draw: Draw = "object"
    distinct_images: bool = False  # no image twice in a batch
    sentences_per_image: int = 1
    overlaps: Literal["published", "union"] = "published"  # parts of one object that overlap cancel out, as published
    validation_limit: int | None = None
    skip_broken: bool = False
    text_key: str | None = None
    sentences: Literal["raw", "sent"] = "raw"
    exif: Literal["turn", "ignore"] = "turn"
    images: str | None = None
    allow_outside: bool = False
    mirrored: bool = False
    held_out: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}; expected a fraction from 0 to below 1.")
        check_limit(self.validation_limit)


@dataclass(frozen=True, kw_only=True)
class ToylandData:
    """Our own world: drawn once into the folder `packed`, as `train/` and `val/`, and then read from there.

    The scenes in `packed` have priority over the numbers of scenes. Without `packed` scenes are drawn when they are
    read. With `labels="classes"` a sample is a scene with the classes of its pixels instead of an expression and a
    mask, with `labels="pictures"` a scene alone. `no_target` is the average number of training sentences per scene and
    subset that refer to nothing in it: with 1.5 they are 18 % of an epoch that draws one sentence of each object, with
    1 they are 11 %. `exchanged` is the average number of further ones, each a sentence about a thing of the scene with
    one word exchanged. `rare` is the probability that a training sentence counts from a side ("the second dog from the
    left") or negates a colour, where its thing allows that. Validation has these sentences only with `validate_absent`,
    for objectives that score presence, because the training loop's IoU counts each without a referent as 0.

    `content` and `style` name what the scenes show and how they are drawn. Scenes of another domain than the default
    are in folders of their own inside `packed`. The first `skip_scenes` of each split are left out, so that the two
    domains of a transfer share no scene.

    With `num_frames` from 8 to 36 the scenes are clips, with masks on `labelled_frames` frames of each and sentences
    about motion (docs/toyland.md), or classes on the middle one; they have folders of their own inside `packed`. A clip
    of 16 frames at a size of 256 takes 4 MB.
    """

    subsets: tuple[SubsetName, ...] = ("toyland", "toyland+", "toyland-g")
    content: str = "everything"  # a name in `toyland.scene.domains.CONTENTS`
    style: str = "painted"  # a name in `toyland.scene.domains.STYLES`
    skip_scenes: int = 0
    num_scenes: int = 20_000
    validation_scenes: int = 200
    validation_limit: int | None = 600
    size: int = 256
    num_frames: int = 1
    labelled_frames: int = 1
    sentences_per_object: int = 3
    no_target: float = 0.0
    exchanged: float = 0.0
    rare: float = 0.0
    validate_absent: bool = False
    labels: Literal["masks", "classes", "none", "pictures"] = "masks"
    draw: Draw = "object"
    distinct_images: bool = False  # no image twice in a batch
    sentences_per_image: int = 4
    packed: str | None = "runs/packed"
    packers: int = 2  # processes that draw

    def __post_init__(self) -> None:
        if not self.subsets:
            raise InputError("Toyland has no subset to read; give one or more of toyland, toyland+ and toyland-g.")
        for name, value, known in (("content", self.content, CONTENTS), ("style", self.style, STYLES)):
            if value not in known:
                raise InputError(f"Toyland has no {name} {value!r}. {did_you_mean(value, known)}")
        if self.skip_scenes < 0 or self.skip_scenes + max(self.num_scenes, self.validation_scenes) > MOST_SCENES:
            raise InputError(
                f"Toyland's scenes {self.skip_scenes:,} to {self.skip_scenes + self.num_scenes:,} are asked for; a "
                f"split has those from 0 to {MOST_SCENES:,}."
            )
        _ = self.expression_options  # raises where they are impossible
        check_frames(self.num_frames, self.labelled_frames)
        if self.num_frames > 1 and self.expression_options != ExpressionOptions():
            raise InputError("Toyland's clips have a referent for each sentence; omit no_target, exchanged and rare.")
        if self.labels == "classes" and self.packed is None:
            raise InputError("Classes of pixels are read from packed scenes; give --data.packed a folder.")
        check_limit(self.validation_limit)

    @property
    def expression_options(self) -> ExpressionOptions:
        """Those of the training split, and of validation with `validate_absent`."""
        return ExpressionOptions(no_target=self.no_target, exchanged=self.exchanged, rare=self.rare)

    @property
    def folder(self) -> str | None:
        """The folder of the packed splits, one for each domain; the default domain's is `packed` itself."""
        default = ToylandData.content, ToylandData.style, ToylandData.skip_scenes, ToylandData.num_frames
        if self.packed is None or (self.content, self.style, self.skip_scenes, self.num_frames) == default:
            return self.packed
        begin = [str(self.skip_scenes)] if self.skip_scenes else []
        frames = [f"clips{self.num_frames}"] if self.num_frames > 1 else []
        return str(Path(self.packed) / "-".join([self.style, self.content, *self.subsets, *begin, *frames]))

    def of_domain(self, domain: Domain) -> "ToylandData":
        """The same numbers of scenes and sentences of another domain."""
        return replace(self, content=domain.content.name, style=domain.style.name, subsets=(domain.subset,))


Data = ToylandData | StoredData
