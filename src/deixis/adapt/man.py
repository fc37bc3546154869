"""MAN, a reconstruction: moments aligned between domains and modalities, and pseudo labels (Jing et al., CVPR 2020).

Only the abstract of "Cross-Modal Cross-Domain Moment Alignment Network for Person Search" could be read, so that this
is not a reproduction: the three alignments that it names are filled with plain forms of ours. As SDA's Appendix C.3
compares it, the pseudo labels of the target are those of pixels.

- domains (DA): mean and covariance of the pixels, and of the words, of source and target
- modalities (CA): those of the target's foreground pixels and words, projected to one width
- exemplars (EA): cross-entropy of the target's own reliable pixels
"""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InputError
from ..layers.domains import Domain, PairObjective, photo_cells
from ..records import Config


@dataclass(frozen=True, kw_only=True)
class MANConfig(Config):
    """`num_steps` is the length of the training, over which the weights grow; None takes the Run's.

    `high` and `low` choose reliable pixels. At most `most` cells and words of a domain are compared, drawn anew in
    every step.
    """

    num_steps: int | None = None
    weight: float = 0.1
    label_weight: float = 1.0
    width: int = 256
    high: float = 0.9
    low: float = 0.1
    most: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.most, self.width) if each is not None]
        weights = (self.weight, self.label_weight)
        if min(counts) < 1 or not min(weights) >= 0 or not 0 < self.low <= self.high < 1:
            raise InputError(
                f"MAN's num_steps are {self.num_steps}, its most {self.most}, its width {self.width}, its weights "
                f"{weights} and its thresholds {self.low} and {self.high}; expected positive numbers, weights of 0 or "
                "more, and a low and a high probability."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "MAN":
        return MAN(system, self)


class MAN(PairObjective):
    """The terms of the system's own loss on the source, and `pixels`, `words`, `modalities` and `labels`."""

    def __init__(self, system: nn.Module, config: MANConfig) -> None:
        super().__init__(system, config)
        visual, query = self.widths("visual", "query")
        self.project_pixels = nn.Linear(visual, config.width)
        self.project_words = nn.Linear(query, config.width)

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        config, logits = self.config, target.output.logits
        pixels = [self.some(domain.cells(), step) for domain in (source, target)]
        queries = [self.some(domain.words(), step) for domain in (source, target)]
        seen = F.normalize(self.project_pixels(self.some(self._foreground(target), step)), dim=-1)
        said = F.normalize(self.project_words(queries[1]), dim=-1)
        is_photo = photo_cells(target.batch, (logits.shape[1], logits.shape[2]))
        own = {
            "pixels": config.weight * moment_distance(*pixels),
            "words": config.weight * moment_distance(*queries),
            "modalities": config.weight * moment_distance(seen, said),
            "labels": config.label_weight * own_labels(logits.flatten(1)[is_photo], config.high, config.low),
        }
        return {name: self.ramp(step) * term for name, term in own.items()}

    def _foreground(self, target: Domain) -> Float[Tensor, "_ d"]:
        """The target's cells that are foreground by the system's own, reliable prediction."""
        visual = target.output.features["visual"]
        size = visual.shape[2], visual.shape[3]
        found = F.interpolate(target.output.logits.detach().sigmoid()[:, None], size=size, mode="area")
        is_foreground = (found > self.config.high).flatten(1) & photo_cells(target.batch, size)
        return rearrange(visual, "b d y x -> b (y x) d")[is_foreground]


def moment_distance(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """‖μ - μ'‖² + ‖Cov - Cov'‖² / d; 0 where a side has no rows."""
    if not len(first) or not len(second):
        return first.sum() * 0.0 + second.sum() * 0.0
    means = [rows.mean(dim=0) for rows in (first, second)]
    centred = [rows - mean for rows, mean in zip((first, second), means, strict=True)]
    covariances = [rows.mT @ rows / len(rows) for rows in centred]
    gap = (covariances[0] - covariances[1]).square().sum() / first.shape[1]
    return (means[0] - means[1]).square().sum() + gap


def own_labels(logits: Float[Tensor, " n"], high: float, low: float) -> Float[Tensor, ""]:
    """Cross-entropy of the reliable pixels with their own labels, which have no gradient; 0 without any."""
    probabilities = logits.detach().sigmoid()
    is_reliable = (probabilities > high) | (probabilities < low)
    if not is_reliable.any():
        return logits.sum() * 0.0
    chosen, labels = logits[is_reliable], (probabilities > high)[is_reliable]
    return F.binary_cross_entropy_with_logits(chosen, labels.float())
