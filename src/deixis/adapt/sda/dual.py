"""Stage 3 of SDA: the dual adaptive branches (Section 3.3), L_ct + λ1 L_cfb + λ2 L_ho (Eq. 7) on Pairs of batches.

- contrastive feature branch: foreground cells of each domain against the other's reliable cells of the same category,
  of the batch and of a memory bank; keys and pseudo masks A^t come from a teacher, an exponential moving average
- reciprocal relation branch: semantic masks Ā^t of the target train an auxiliary decoder behind the shared encoder
  (L_ct), and both kinds of masks order the target's cells by how they relate to the query (L_ho)
- A^t never trains the main decoder (Eq. 5)
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ... import losses
from ...batch import Batch, Domains, Output, Pair
from ...errors import InputError, ModelError
from ...layers.domains import joined, parted, photo_cells
from ...layers.gather import gather
from ...layers.moving_average import MovingAverage
from ...records import Config
from ...system import Adaptable, chosen_features
from .activation import ActivationOptions
from .affinity import AffinityConfig, trained_affinity
from .classifier import CategoryClassifierConfig, trained_classifier
from .contrast import MemoryBank, Several, feature_agreement, feature_contrast, reliable
from .predictor import around, real_words
from .relation import Form, RelationScore, hierarchy, relation_loss
from .semantic_masks import read_masks, write_masks
from .structure import UNKNOWN, CategoryLookup, SemanticStructure, sample_keys

Alignment = Literal["contrast", "cosine"]


@dataclass(frozen=True, kw_only=True)
class DualAdaptationConfig(Config):
    """The published settings; what varies in Tables 3, 5, 8 and 9 is an option.

    - `contrast_weight` λ1 and `relation_weight` λ2 (0: without L_cfb, L_ho); `is_collaborative=False`: without L_ct's
      auxiliary decoder
    - `alignment="cosine"`: "w/o contrastive"; `memory` B entries of `cells` foreground and background cells for each
      common category and domain, 0: "w/o memory"
    - `high`, `low`: γ_max and γ_min; `decay`: the teacher's
    - `is_reciprocal=False`: "w/o reciprocal", Ā^t is A^t's foreground and no classifier is needed
    - `several` and `form`: readings of Eqs. 4 and 6
    - `semantic`, `trained_classifier` and `trained_affinity` are earlier Runs, or their folders; `classifier` is the
      config of the second, and the refinement of `activation` says whether there is a third
    """

    contrast_weight: float = 1.0
    relation_weight: float = 0.1
    is_collaborative: bool = True
    is_reciprocal: bool = True
    alignment: Alignment = "contrast"
    several: Several = "mean"
    form: Form = "jensen-shannon"
    temperature: float = 0.1
    memory: int = 100
    cells: int = 16
    high: float = 0.9
    low: float = 0.1
    decay: float = 0.99
    relation_width: int = 256
    activation: ActivationOptions = field(default_factory=ActivationOptions)
    classifier: CategoryClassifierConfig = field(default_factory=CategoryClassifierConfig)
    semantic: str = "semantic"
    trained_classifier: str = "classifier"
    trained_affinity: str = "affinity"
    seed: int = 0

    def __post_init__(self) -> None:
        if not min(self.contrast_weight, self.relation_weight) >= 0 or not self.temperature > 0:
            raise InputError(
                f"SDA's weights are {self.contrast_weight} and {self.relation_weight} and its temperature "
                f"{self.temperature}; expected weights of 0 or more and a positive temperature."
            )
        if not 0 < self.low <= self.high < 1 or not 0 <= self.decay < 1:
            raise InputError(
                f"SDA's thresholds are {self.low} and {self.high} and the teacher's decay is {self.decay}; expected a "
                "low and a high probability, and a decay of at least 0 and below 1."
            )
        if self.memory < 0 or min(self.cells, self.relation_width) < 1:
            raise InputError(
                f"SDA's memory is {self.memory}, its cells {self.cells} and its relation_width {self.relation_width}; "
                "expected a memory of 0 or more and positive numbers."
            )

    @property
    def needs_classifier(self) -> bool:
        return self.is_reciprocal and (self.is_collaborative or self.relation_weight > 0)

    @property
    def needs_runs(self) -> tuple[str, ...]:
        """The earlier Runs, or folders of Runs, that stage 3 reads."""
        classifier = (self.trained_classifier,) if self.needs_classifier else ()
        return self.semantic, *classifier, *(() if self.affinity is None else (self.trained_affinity,))

    @property
    def affinity(self) -> AffinityConfig | None:
        """The network of affinities that the refinement of the activation maps needs."""
        kind = self.activation.refinement
        if not self.needs_classifier or (kind != "boundary-walk" and kind != "feature-walk"):
            return None
        return AffinityConfig(classifier=self.classifier, kind=kind)

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "DualAdaptation":
        return DualAdaptation(system, self, vocabulary)


@dataclass(frozen=True)
class _Masks:
    """The cells of each sample, on the grid of the visual features."""

    foreground: Bool[Tensor, "b n"]
    background: Bool[Tensor, "b n"]


class DualAdaptation(nn.Module):
    """The system's own loss on the source, and `auxiliary`, `contrast`, `relation_source` and `relation_target`."""

    needs_whole_batch = True
    takes_unlabelled = False  # the source has masks, the target none
    takes_pairs = True

    common: Tensor

    def __init__(self, system: nn.Module, config: DualAdaptationConfig, vocabulary: tuple[str, ...]) -> None:
        super().__init__()
        if not isinstance(system, Adaptable) or not hasattr(system, "decoder"):
            raise ModelError(
                f"SDA copies the decoder of a system, but {type(system).__name__} has none that can be replaced; "
                "choose a system with fuse(), decode() and a decoder."
            )
        self.system: Any = system
        self.config = config
        self.around = around(vocabulary)
        self.requires: tuple[str, ...] = (*cast(Any, system).loss_features, "visual", "query")
        offered = {name: lambda width=width: width for name, width in cast(Any, system).feature_widths.items()}
        widths = chosen_features(("visual", "query"), offered, type(system).__name__)
        self.teacher = MovingAverage(system)
        self.auxiliary = deepcopy(system.decoder) if config.is_collaborative else None
        self.relation = (
            RelationScore(widths["query"], widths["visual"], config.relation_width) if config.relation_weight else None
        )
        self.banks = nn.ModuleList(
            MemoryBank(0, widths["visual"], size=max(1, config.memory), cells=config.cells) for _ in range(2)
        )  # of the source, of the target
        self.labels = nn.ModuleList(CategoryLookup() for _ in range(2))
        self.register_buffer("common", torch.empty(0, dtype=torch.long))  # a category's place in the banks, or UNKNOWN
        self.folder: Path | None = None
        self.earlier: Mapping[str, Path] = {}
        self._entries: list[tuple[int, int, Tensor, Tensor]] = []

    def use_folders(self, own: Path, earlier: Mapping[str, Path]) -> None:
        self.folder, self.earlier = own, earlier

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        both = joined(batch)
        count = len(batch.source)
        fused = self.system.fuse(both)
        output = self.system.decode(fused, features=self.requires)
        taught = self.teacher(both, features=("visual",))
        is_collaborative = self.auxiliary is not None
        second = (
            self.system.decode(fused, self.auxiliary, features=self._level_features()) if is_collaborative else None
        )
        with torch.autocast(both.images.device.type, enabled=False):
            source, target = parted(output.float(), count)
            terms: dict[str, Tensor] = self.system.loss(batch.source, source)  # L_bce(S^s, A^s) of Eq. 5
            own, other = parted(taught.float(), count)
            size = source.features["visual"].shape[-2:]
            masks = (self._labelled(batch.source, size), self._pseudo(batch.target, other.logits, size))
            semantic = self._semantic(batch.target, other.logits)
            if second is not None:
                terms["auxiliary"] = self._auxiliary(parted(second.float(), count)[1], batch.target, semantic)
            if self.config.contrast_weight:
                terms["contrast"] = self.config.contrast_weight * self._contrast(
                    batch, (source, target), (own, other), masks
                )
            if self.relation is not None:
                pixels = losses.cell_masks(semantic, (size[0], size[1])).flatten(1)
                relations = self._relations(batch, (source, target), masks, pixels)
                terms |= {name: self.config.relation_weight * term for name, term in relations.items()}
            return terms

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The teacher follows the student, and the batch enters the memory."""
        self.teacher.update(self.system, self.config.decay)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        for domain, place, foreground, background in self._entries:
            cast(MemoryBank, self.banks[domain]).enter(place, foreground, background, generator)
        self._entries = []

    def prepare(self, batches: Domains) -> None:
        """Read the categories, make room in the memory, and write the semantic masks of the target's images."""
        structure = SemanticStructure.load(self._run(self.config.semantic))
        device = self.common.device
        keys = (structure.source_keys, structure.target_keys)
        for lookup, each, labels in zip(
            self.labels, keys, (structure.source_labels, structure.target_labels), strict=True
        ):
            cast(CategoryLookup, lookup).fill(each, labels)
        places = np.full(structure.num_categories, UNKNOWN, np.int64)
        places[list(structure.common)] = np.arange(len(structure.common))
        self.common = torch.as_tensor(places, device=device)
        if self.config.memory:
            for bank in self.banks:
                cast(MemoryBank, bank).resize(len(structure.common))
        if self.config.needs_classifier:
            self._write_masks(batches, structure, device)

    def _write_masks(self, batches: Domains, structure: SemanticStructure, device: torch.device) -> None:
        config = self.config
        classifier = trained_classifier(self._run(config.trained_classifier), config.classifier).to(device)
        affinity = None
        if config.affinity is not None:
            affinity = trained_affinity(self._run(config.trained_affinity), config.affinity, classifier).to(device)
        write_masks(classifier, batches.target, structure, self._folder(), config.activation, affinity)

    def _level_features(self) -> tuple[str, ...]:
        return tuple(name for name in cast(Any, self.system).loss_features if name == "responses")

    def _labelled(self, batch: Batch, size: Sequence[int]) -> _Masks:
        assert batch.masks is not None  # the system's loss has checked
        foreground = losses.cell_masks(batch.masks, (size[0], size[1])).flatten(1)
        return _Masks(foreground, ~foreground & photo_cells(batch, (size[0], size[1])))

    def _pseudo(self, batch: Batch, logits: Float[Tensor, "b h w"], size: Sequence[int]) -> _Masks:
        """A^t: the teacher's cells above γ_max and below γ_min; padding is in neither."""
        grid = (size[0], size[1])
        probabilities = F.interpolate(logits.sigmoid()[:, None], size=grid, mode="area").flatten(1)
        is_photo = photo_cells(batch, grid)
        high, low = reliable(probabilities, self.config.high, self.config.low)
        return _Masks(high & is_photo, low & is_photo)

    def _semantic(self, batch: Batch, logits: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
        """Ā^t at the size of the images; without a classifier the foreground of A^t."""
        if not self.config.needs_classifier:
            return logits.sigmoid() > self.config.high
        labels = cast(CategoryLookup, self.labels[1])(sample_keys(batch))
        return read_masks(batch, labels, self._folder())

    def _auxiliary(self, output: Output, batch: Batch, semantic: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """L_bce(S̄^t, Ā^t) of Eq. 5, at every resolution that the system's loss reads.

        A sample whose semantic mask is empty is left out: its referent is somewhere.
        """
        is_marked = semantic.flatten(1).any(dim=1)
        if not is_marked.any():
            return output.logits.sum() * 0.0
        share = is_marked.float().mean()  # a mean over all samples, so that processes with unequal numbers agree
        masks = semantic[is_marked]
        if responses := output.features.get("responses"):
            return share * losses.multilevel_bce([each[is_marked] for each in responses], masks)
        return share * losses.bce(output.logits[is_marked], masks)

    def _contrast(
        self, batch: Pair, student: tuple[Output, Output], teacher: tuple[Output, Output], masks: tuple[_Masks, _Masks]
    ) -> Float[Tensor, ""]:
        """L_cfb = L_cfb^{s→t} + L_cfb^{t→s} (Section 3.3.1) over the samples of all processes."""
        every = gather if self.training else (lambda rows: rows)
        cells = [every(_cells(each)) for each in student]
        keys = [every(_cells(each)) for each in teacher]
        foreground = [every(each.foreground.float()) > 0.5 for each in masks]
        background = [every(each.background.float()) > 0.5 for each in masks]
        places = [every(place) for place in self._places(batch)]
        domains = [
            [
                (int(place), key[is_front], key[is_back])
                for place, key, is_front, is_back in zip(*domain, strict=True)
                if place != UNKNOWN
            ]
            for domain in zip(places, keys, foreground, background, strict=True)
        ]
        directions = []
        for domain, other in ((0, 1), (1, 0)):
            terms = [
                self._sample_contrast(cells[domain][row][foreground[domain][row]], place, other, domains[other])
                for row, place in enumerate(places[domain].tolist())
            ]
            directions.append(torch.stack(terms).mean())
        if self.training and self.config.memory:
            self._entries = [(number, *entry) for number, domain in enumerate(domains) for entry in domain]
        return torch.stack(directions).sum()

    def _sample_contrast(
        self,
        anchors: Float[Tensor, "n d"],
        place: int,
        other: int,
        batch: list[tuple[int, Tensor, Tensor]],
    ) -> Float[Tensor, ""]:
        """Eq. 4 of one sample: against the other domain's samples of its category, in the batch and in the memory."""
        if place == UNKNOWN:
            return anchors.sum() * 0.0
        positives = [front for number, front, _ in batch if number == place]
        negatives = [back for number, _, back in batch if number == place]
        if self.config.memory:
            remembered = cast(MemoryBank, self.banks[other]).entries(place)
            positives, negatives = [*positives, remembered[0]], [*negatives, remembered[1]]
        if not positives:
            return anchors.sum() * 0.0
        near, far = torch.cat(positives), torch.cat(negatives)
        if self.config.alignment == "cosine":
            return feature_agreement(anchors, near)
        return feature_contrast(anchors, near, far, temperature=self.config.temperature, several=self.config.several)

    def _places(self, batch: Pair) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """The place in the banks of each sample's category; `UNKNOWN` for a category that the domains do not share."""
        found = []
        for lookup, domain in zip(self.labels, (batch.source, batch.target), strict=True):
            labels = cast(CategoryLookup, lookup)(sample_keys(domain))
            shared = self.common[labels.clamp(min=0)] if len(self.common) else torch.full_like(labels, UNKNOWN)
            found.append(torch.where(labels == UNKNOWN, UNKNOWN, shared))
        return found[0], found[1]

    def _relations(
        self,
        batch: Pair,
        outputs: tuple[Output, Output],
        masks: tuple[_Masks, _Masks],
        semantic: Bool[Tensor, "b n"],
    ) -> dict[str, Tensor]:
        """L_ho (Eq. 6): on the source foreground over background; on the target instance, category, background."""
        semantic = semantic & photo_cells(batch.target, _grid(outputs[1]))
        instance, category, rest = hierarchy(masks[1].foreground, masks[1].background, semantic)
        pairs = {
            "relation_source": (0, batch.source, [(masks[0].foreground, masks[0].background)]),
            "relation_target": (1, batch.target, [(instance, category), (category, rest)]),
        }
        terms = {}
        for name, (number, domain, orders) in pairs.items():
            cells, query = _cells(outputs[number]), self._queries(outputs[number], domain)
            scores = [cast(RelationScore, self.relation)(one, row) for one, row in zip(query, cells, strict=True)]
            each = [
                relation_loss(score[nearer[row]], score[farther[row]], self.config.form)
                for row, score in enumerate(scores)
                for nearer, farther in orders
            ]
            terms[name] = torch.stack(each).sum() / len(scores)
        return terms

    def _queries(self, output: Output, batch: Batch) -> Float[Tensor, "b d"]:
        """The mean of Q over the real words."""
        words = real_words(batch, self.around)
        query = output.features["query"][:, : words.shape[1]]
        return (query * words[..., None]).sum(1) / words.sum(1, keepdim=True)

    def _run(self, name: str) -> Path:
        return self.earlier.get(name, Path(name))

    def _folder(self) -> Path:
        if self.folder is None:
            raise InputError("SDA writes semantic masks for each image, but has no folder; call use_folders first.")
        return self.folder


def _cells(output: Output) -> Float[Tensor, "b n d"]:
    return rearrange(output.features["visual"], "b d y x -> b (y x) d")


def _grid(output: Output) -> tuple[int, int]:
    height, width = output.features["visual"].shape[-2:]
    return height, width
