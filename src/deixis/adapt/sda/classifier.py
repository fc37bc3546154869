"""The multi-label classifier of the target's categories (SDA, Appendix B.2 and Eq. 12), as a network and an objective.

- an independent ResNet, global average pooling, one linear layer with a sigmoid for k^t + k^u categories
- the last stage has stride 1, so that the activation maps have stride 16, as in the published code of IRN
- the bias starts at the categories' log-odds, so that the maps show evidence and not how rare a category is
- the number of categories is known only when they are found, so the linear layer has `most` outputs, of which the first
  k^t + k^u are trained
- padding is left out of the pooling
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...batch import Batch, Domains, Output, Pair
from ...errors import InputError, ModelError
from ...layers.domains import photo_cells
from ...records import Config
from ...system import chosen_features
from ...vision.resnet import ResNet, ResNetConfig
from ...weights import read_safetensors
from .predictor import LAST_WEIGHTS
from .structure import UNKNOWN, CategoryLookup, SemanticStructure, image_keys


@dataclass(frozen=True, kw_only=True)
class CategoryClassifierConfig(Config):
    """A ResNet-101, and the largest number of categories."""

    vision: ResNetConfig = field(default_factory=ResNetConfig)
    most: int = 512

    def __post_init__(self) -> None:
        if self.most < 1:
            raise InputError(f"The classifier has {self.most} categories; expected a positive number.")

    def build(self) -> "CategoryClassifier":
        return CategoryClassifier(self)


class CategoryClassifier(nn.Module):
    """Images to a logit for each category, and to the activation maps that these are the means of."""

    def __init__(self, config: CategoryClassifierConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CategoryClassifierConfig()
        self.vision = ResNet(config.vision)
        first: Any = self.vision.layer4[0]  # type: ignore[index]
        for convolution in (first.conv2, first.downsample[0]):
            convolution.stride = (1, 1)
        self.head = nn.Linear(self.vision.widths[-1], config.most)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        """`logits` are the strongest category's at each pixel: where anything of a known category is."""
        last = self.stages(batch.target_frames())[-1]
        maps = self.maps(last) + self.head.bias[:, None, None]
        strongest = batch.expand(maps.amax(dim=1, keepdim=True))
        size = batch.images.shape[-2:]
        return Output(
            logits=F.interpolate(strongest, size=size, mode="bilinear", align_corners=False)[:, 0],
            features=chosen_features(features, {"categories": lambda: batch.expand(self._pooled(last, batch))}, "It"),
        )

    def scores(self, batch: Batch) -> Float[Tensor, "i k"]:
        """The logits of each image's categories."""
        return self._pooled(self.stages(batch.target_frames())[-1], batch)

    def stages(self, images: Float[Tensor, "i 3 h w"]) -> list[Tensor]:
        """The maps of the four stages, at strides 4, 8, 16 and 16."""
        return self.vision(images)

    def maps(self, last: Float[Tensor, "i c y x"]) -> Float[Tensor, "i k y x"]:
        """w_c · f of each cell and category, without the bias."""
        return einsum(last, self.head.weight, "i c y x, k c -> i k y x")

    def _pooled(self, last: Float[Tensor, "i c y x"], batch: Batch) -> Float[Tensor, "i k"]:
        own = Batch(images=batch.target_frames()[:, None], token_ids=batch.token_ids, token_mask=batch.token_mask)
        is_photo = photo_cells(own, (last.shape[2], last.shape[3])).to(last.dtype)
        cells = rearrange(last, "i c y x -> i (y x) c")
        mean = (cells * is_photo[..., None]).sum(1) / is_photo.sum(1, keepdim=True).clamp(min=1)
        return self.head(mean)


@dataclass(frozen=True, kw_only=True)
class CategoryLabelsConfig(Config):
    """`semantic` is the earlier Run that found the categories, or its folder."""

    semantic: str = "semantic"

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "CategoryLabels":
        return CategoryLabels(system, self)


class CategoryLabels(nn.Module):
    """The term `categories`, Eq. 12 on the target's half of each Pair."""

    requires: tuple[str, ...] = ()
    needs_whole_batch = False
    takes_unlabelled = True
    takes_pairs = True

    labels: Tensor

    def __init__(self, system: nn.Module, config: CategoryLabelsConfig) -> None:
        super().__init__()
        if not isinstance(system, CategoryClassifier):
            raise ModelError(
                f"CategoryLabels trains a CategoryClassifier, not a {type(system).__name__}; give the run the system "
                "CategoryClassifierConfig()."
            )
        self.system = system
        self.config = config
        self.rows = CategoryLookup()  # an image's row of `labels`
        self.register_buffer("labels", torch.empty(0, 0, dtype=torch.bool))
        self.earlier: Mapping[str, Path] = {}

    def use_folders(self, own: Path, earlier: Mapping[str, Path]) -> None:
        self.earlier = earlier

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        target = batch.target
        scores = self.system.scores(target)
        with torch.autocast(target.images.device.type, enabled=False):
            rows = self.rows(_per_image(image_keys(target), target))
            return {"categories": multilabel(scores.float()[rows != UNKNOWN], self.labels[rows[rows != UNKNOWN]])}

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Domains) -> None:
        """Read the categories of the target's images. Raises `InputError` where there are more than outputs."""
        name = self.config.semantic
        structure = SemanticStructure.load(self.earlier.get(name, Path(name)))
        images, categories, labels = structure.image_labels()
        if len(categories) > self.system.config.most:
            raise InputError(
                f"The target has {len(categories)} categories, but the classifier {self.system.config.most} outputs; "
                "raise `most` of its config, or raise the distance threshold of the clustering."
            )
        self.rows.fill(images, torch.arange(len(images)).numpy())
        self.labels = torch.as_tensor(labels, device=self.labels.device)
        with torch.no_grad():
            self.system.head.bias[: labels.shape[1]] = log_odds(self.labels)


def log_odds(labels: Bool[Tensor, "i k"]) -> Float[Tensor, " k"]:
    """log(p / (1 - p)) of each category's fraction p of images, at least half an image from 0 and from 1.

    The head's bias starts there, so that w_c · f is what an image shows beyond that. From 0 the weights, not the bias,
    learn that a category is rare: w_c · f is negative where the category is, too, and its map ReLU(w_c · f) is empty.
    """
    positive = labels.float().sum(0).clamp(0.5, len(labels) - 0.5)
    return (positive / (len(labels) - positive)).log()


def multilabel(scores: Float[Tensor, "i most"], labels: Bool[Tensor, "i k"]) -> Float[Tensor, ""]:
    """Eq. 12: -Σ_c (y log ȳ + (1 - y) log(1 - ȳ)) over the categories, the mean over the images."""
    if not len(scores):
        return scores.sum() * 0.0
    first = scores[:, : labels.shape[1]]
    return F.binary_cross_entropy_with_logits(first, labels.float(), reduction="none").sum(1).mean()


def trained_classifier(folder: Path, config: CategoryClassifierConfig) -> CategoryClassifier:
    """The classifier that a Run trained. Raises `InputError` where the folder has none, or one of another size."""
    file = folder / LAST_WEIGHTS
    if not file.is_file():
        raise InputError(f"There is no classifier of categories in {folder}; train the Run that makes it first.")
    classifier = CategoryClassifier(config)
    try:
        classifier.load_state_dict(read_safetensors(file))
    except RuntimeError:
        raise InputError(f"The classifier in {folder} is of another size than the config; both must agree.") from None
    return classifier.requires_grad_(False).eval()


def _per_image(values: Tensor, batch: Batch) -> Tensor:
    """The value of each image of the batch, from those of its expressions."""
    if batch.image_index is None:
        return values
    found = torch.zeros(len(batch.images), dtype=values.dtype, device=values.device)
    return found.scatter(0, batch.image_index, values)
