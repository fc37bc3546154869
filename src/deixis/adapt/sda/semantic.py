"""Stage 2 of SDA: semantic modelling of both domains, then training on the source with L_si (Sections 3.2 and 3.4).

Before its first step the Run finds the categories of both domains and writes them into its folder, for the Runs after
it and, with pictures, for people. It trains on the source's half of each Pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from einops import rearrange
from jaxtyping import Float, Int
from rich.console import Console
from torch import Tensor, nn

from ...batch import Domains, Pair
from ...errors import InputError
from ...layers.domains import all_rows
from ...losses import cell_masks
from ...records import Config
from ...system import RunReport
from .construction import CategoryOptions, ContentOptions, construct, visual_prototypes
from .contents import semantic_initialisation
from .predictor import around, trained_predictor
from .report import run_report, summary, write_report
from .structure import UNKNOWN, CategoryLookup, SemanticStructure, sample_keys


@dataclass(frozen=True, kw_only=True)
class SemanticInitialisationConfig(Config):
    """`weight` is that of L_si, 0 for "w/o L_si" (Table 4); `decay` is the prototypes' U^s, per step.

    `predictor` is the earlier Run that trained the predictor of words, or its folder.
    """

    content: ContentOptions = field(default_factory=ContentOptions)
    categories: CategoryOptions = field(default_factory=CategoryOptions)
    predictor: str = "predictor"
    weight: float = 1.0
    temperature: float = 0.1
    decay: float = 0.99

    def __post_init__(self) -> None:
        if not self.weight >= 0 or not self.temperature > 0 or not 0 <= self.decay < 1:
            raise InputError(
                f"The weight of L_si is {self.weight}, its temperature {self.temperature} and the decay of its "
                f"prototypes {self.decay}; expected 0 or more, a positive number, and at least 0 and below 1."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "SemanticInitialisation":
        return SemanticInitialisation(system, self, vocabulary)


class SemanticInitialisation(nn.Module):
    """The terms of the system's own loss on the source, and `semantic`, L_si of Eq. 3."""

    needs_whole_batch = True
    takes_unlabelled = False  # the source has masks, the target none
    takes_pairs = True

    prototypes: Tensor

    def __init__(self, system: nn.Module, config: SemanticInitialisationConfig, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        self.system: Any = system
        self.config = config
        self.vocabulary = vocabulary
        own = ("visual",) if config.weight else ()
        self.requires: tuple[str, ...] = (*cast(Any, system).loss_features, *own)
        self.categories = CategoryLookup()
        self.register_buffer("prototypes", torch.empty(0))  # U^s
        self.folder: Path | None = None
        self.earlier: Mapping[str, Path] = {}
        self._seen: tuple[Tensor, Tensor] | None = None

    def use_folders(self, own: Path, earlier: Mapping[str, Path]) -> None:
        self.folder, self.earlier = own, earlier

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        source = batch.source
        output = self.system(source, features=self.requires)
        with torch.autocast(source.images.device.type, enabled=False):
            output = output.float()
            terms: dict[str, Tensor] = self.system.loss(source, output)
            if not self.config.weight:
                return terms
            assert source.masks is not None  # the system's loss has checked
            visual = output.features["visual"]
            foreground = cell_masks(source.masks, (visual.shape[2], visual.shape[3])).flatten(1)
            labels = self.categories(sample_keys(source))
            chosen = foreground & (labels != UNKNOWN)[:, None]
            pixels = rearrange(visual, "b d y x -> b (y x) d")[chosen]
            kinds = labels[:, None].expand_as(chosen)[chosen]
            if self.training:
                # Eq. 3 is a mean over the foreground of the whole batch, of which processes have unequal parts.
                pixels, kinds = all_rows(pixels), all_rows(kinds[:, None].float())[:, 0].long()
                self._seen = pixels.detach(), kinds
            loss = semantic_initialisation(pixels, kinds, self.prototypes, self.config.temperature)
            return terms | {"semantic": self.config.weight * loss}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Each prototype follows the mean of its category's foreground in the batch."""
        if self._seen is not None:
            pixels, kinds = self._seen
            self.prototypes = updated(self.prototypes, pixels, kinds, self.config.decay)
            self._seen = None

    def prepare(self, batches: Domains) -> None:
        """Find the categories, and write them into the run's folder. Raises `InputError` as `construct` does."""
        content, folder = self.config.content, self._folder()
        predictor = None
        if content.needs_predictor and not self.config.categories.is_single:
            name = self.config.predictor
            width = cast(int, self.system.feature_widths["embeddings"])
            predictor = trained_predictor(self.earlier.get(name, Path(name)), width)
        self.system.eval()
        first = next(self.system.parameters())
        found = construct(
            self.system,
            batches,
            None if predictor is None else predictor.to(first.device),
            around(self.vocabulary),
            content,
            self.config.categories,
        )
        if is_main():
            Console(stderr=True).print(summary(found), highlight=False, soft_wrap=True, markup=False)
            write_report(found, self.vocabulary, folder)
            found.structure.save(folder)
        wait_for_all()
        structure = SemanticStructure.load(folder)  # the main process's: another machine may round otherwise
        self.categories.fill(structure.source_keys, structure.source_labels)
        prototypes = visual_prototypes(found.source, structure.source_labels, structure.num_source)
        self.prototypes = torch.as_tensor(prototypes, dtype=torch.float32, device=first.device)

    def report(self) -> RunReport:
        """The fraction of common targets, the numbers of categories, and the sheets of the largest ones."""
        return run_report(self._folder())

    def _folder(self) -> Path:
        if self.folder is None:
            raise InputError(
                "SemanticInitialisation writes the categories that it finds, but has no folder; call use_folders first."
            )
        return self.folder


def updated(
    prototypes: Float[Tensor, "k d"], pixels: Float[Tensor, "n d"], kinds: Int[Tensor, " n"], decay: float
) -> Float[Tensor, "k d"]:
    """decay · U + (1 - decay) · mean of the pixels of the category; of a category without pixels U."""
    sums = torch.zeros_like(prototypes).index_add_(0, kinds, pixels)
    counts = torch.zeros_like(prototypes[:, :1]).index_add_(0, kinds, torch.ones_like(pixels[:, :1]))
    means = sums / counts.clamp(min=1)
    return torch.where(counts > 0, decay * prototypes + (1 - decay) * means, prototypes)


def is_main() -> bool:
    """Whether this process writes files."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def wait_for_all() -> None:
    """Until every process is here, so that each can read what the main one wrote."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
