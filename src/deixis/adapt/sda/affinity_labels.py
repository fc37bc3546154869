"""Which pairs of cells belong together (IRN, PSA): labels from activation maps, and the loss that learns from them.

- a cell is labelled where its image's strongest map exceeds 0.30, background where none exceeds 0.05, else ignored
- IRN corrects both by a DenseCRF; here only with `has_crf`, for which the package must be installed
- the loss is IRN's without its displacement field, up to a factor PSA's, too
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor, nn

from ...batch import Batch, Domains, Pair
from ...errors import InputError, ModelError
from ...layers.gather import gather
from ...predict.refine import DenseCRF, check_installed
from ...records import Config
from .activation import SMALL, activation_maps, is_photo, rgb, strongest
from .affinity import AffinityNetwork, offsets, pair
from .image_maps import read_maps, write_maps
from .structure import SemanticStructure, image_keys

FOLDER = "affinity_labels"  # in the Run's folder
IGNORED = 65_535
CERTAIN = 0.7  # the probability of a label before the CRF; ours
RADIUS = {"boundary-walk": 10.0, "feature-walk": 5.0}  # of the pairs of cells that are trained on


@dataclass(frozen=True, kw_only=True)
class AffinityLossConfig(Config):
    """`foreground` and `background` are the thresholds of labels; `semantic` is the Run that found the categories."""

    foreground: float = 0.30
    background: float = 0.05
    scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0)
    has_crf: bool = False
    semantic: str = "semantic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if not 0 <= self.background <= self.foreground < 1 or not self.scales or not min(self.scales) > 0:
            raise InputError(
                f"The thresholds of affinity labels are {self.background} and {self.foreground} and the scales "
                f"{self.scales}; expected a background of at least 0, a foreground of at least that and below 1, and "
                "positive scales."
            )
        if self.has_crf:
            check_installed()

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "AffinityLoss":
        return AffinityLoss(system, self)


class AffinityLoss(nn.Module):
    """The term `affinity` on the target's half of each Pair."""

    requires: tuple[str, ...] = ()
    needs_whole_batch = True
    takes_unlabelled = True
    takes_pairs = True

    def __init__(self, system: nn.Module, config: AffinityLossConfig) -> None:
        super().__init__()
        if not isinstance(system, AffinityNetwork):
            raise ModelError(
                f"AffinityLoss trains an AffinityNetwork, not a {type(system).__name__}; give the run the system "
                "AffinityConfig()."
            )
        self.system = system
        self.config = config
        self.folder: Path | None = None
        self.earlier: Mapping[str, Path] = {}

    def use_folders(self, own: Path, earlier: Mapping[str, Path]) -> None:
        self.folder, self.earlier = own, earlier

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        images, labels = self._labelled(batch.target)
        described = self.system.described(images)
        with torch.autocast(images.device.type, enabled=False):
            described = described.float()
            kinds = F.interpolate(labels[:, None].float(), size=described.shape[-2:], mode="nearest")[:, 0].long()
            sums, counts = pair_sums(self.system, described, kinds)
            if self.training:  # each kind's mean is over the pairs of all processes
                sums, counts = gather(sums[None]).sum(0), gather(counts[None]).sum(0)
            return {"affinity": affinity_loss(sums, counts)}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Domains) -> None:
        """Write the labels of the target's images, from the classifier's activation maps."""
        structure = SemanticStructure.load(self.earlier.get(self.config.semantic, Path(self.config.semantic)))

        def make(images: Tensor, labels: Tensor) -> Int64[np.ndarray, "i y x"]:
            maps = activation_maps(self.system.classifier, images, labels, self.config.scales).cpu().numpy()
            colours = (rgb(images) * 255).round().astype(np.uint8)
            inside = is_photo(images, maps.shape[-2:]).cpu().numpy()
            rows = zip(maps, labels.cpu().numpy(), colours, strict=True)
            found = np.stack([cell_labels(*row, self.config) for row in rows])
            return np.where(inside, found, IGNORED)

        with torch.no_grad():
            write_maps(batches.target, structure, self._labels(), make)

    def _labelled(self, batch: Batch) -> tuple[Float[Tensor, "i 3 h w"], Int[Tensor, "i y x"]]:
        """Each image once, and its labels."""
        keys = image_keys(batch).tolist()
        index = range(len(keys)) if batch.image_index is None else batch.image_index.tolist()
        places = dict(zip(index, keys, strict=True))
        maps = read_maps(keys, self._labels(), batch.images.device)
        return batch.target_frames()[list(places)], torch.stack([maps[key] for key in places.values()])

    def _labels(self) -> Path:
        if self.folder is None:
            raise InputError("AffinityLoss writes labels for each image, but has no folder; call use_folders first.")
        return self.folder / FOLDER


def cell_labels(
    maps: Float[np.ndarray, "k y x"],
    categories: Bool[np.ndarray, " k"],
    colours: UInt8[np.ndarray, "h w 3"],
    config: AffinityLossConfig,
) -> Int64[np.ndarray, "y x"]:
    """A category of the image, counted from 1, 0 for the background, or IGNORED where neither is certain."""
    front, back = (strongest(maps, categories, threshold) for threshold in (config.foreground, config.background))
    if config.has_crf:
        front, back = (corrected(each, colours) for each in (front, back))
    return np.where(front > 0, front, np.where(back > 0, IGNORED, 0))


def corrected(kinds: Int64[np.ndarray, "y x"], colours: UInt8[np.ndarray, "h w 3"]) -> Int64[np.ndarray, "y x"]:
    """The labels after a DenseCRF at the image's size, with our default parameters."""
    names, compact = np.unique(kinds, return_inverse=True)
    if len(names) < 2:
        return kinds
    (rows, columns), (height, width) = kinds.shape, colours.shape[:2]
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    full = compact.reshape(kinds.shape)[down[:, None], across]
    others = (1 - CERTAIN) / (len(names) - 1)
    prior = np.where(full == np.arange(len(names))[:, None, None], CERTAIN, others)
    found = names[DenseCRF().probabilities(colours, prior).argmax(0)]
    middle_row, middle_column = (
        ((2 * np.arange(rows) + 1) * height // (2 * rows)),
        ((2 * np.arange(columns) + 1) * width // (2 * columns)),
    )
    return found[middle_row[:, None], middle_column]


def pair_sums(
    network: AffinityNetwork, described: Float[Tensor, "i c y x"], kinds: Int[Tensor, "i y x"]
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """Over all pairs within the radius: sums of -log a on background and same category, of -log(1 - a) on different.

    With them the numbers of pairs of each kind; pairs with an ignored cell are in none.
    """
    sums, counts = [described.new_zeros(3)], [described.new_zeros(3)]
    for offset in offsets(RADIUS[network.config.kind]):
        first, second = pair(kinds, offset)
        if not first.numel():
            continue
        affinity = network.head.affinities(described, offset)
        is_known = (first != IGNORED) & (second != IGNORED)
        is_same = (first == second) & is_known
        chosen = torch.stack([is_same & (first == 0), is_same & (first > 0), is_known & ~is_same])
        near, far = -(affinity + SMALL).log(), -(1 + SMALL - affinity).log()
        sums.append((torch.stack([near, near, far]) * chosen).sum(dim=(1, 2, 3)))
        counts.append(chosen.sum(dim=(1, 2, 3)).float())
    return torch.stack(sums).sum(0), torch.stack(counts).sum(0)


def affinity_loss(sums: Float[Tensor, "3"], counts: Float[Tensor, "3"]) -> Float[Tensor, ""]:
    """½ · background + ½ · same category + different, each the mean over its pairs; a kind without pairs gives 0."""
    background, same, different = sums / counts.clamp(min=1)
    return 0.5 * background + 0.5 * same + different
