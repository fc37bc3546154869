"""PLCA: pixel-level cycle association between two domains (Kang et al., NeurIPS 2020).

A source cell's most similar target cell, and that one's most similar source cell, form a cycle; where it ends in the
class in which it began, its two steps become more probable. As SDA's Appendix C.3 compares it: with the discrepancy of
the query features beside it, on the last map of the vision encoder, for two classes, foreground and background.
SDA's appendix cites DANN for it. Weights of the three terms are those of the published code, whose Lovász term and
whose aggregation at test time are left out.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from ..errors import InputError
from ..layers.domains import Domain, PairObjective, photo_cells
from ..records import Config

TINY = 1e-10  # added in logarithms and to standard deviations, as in the published code
LOWEST_LOG = -100.0


@dataclass(frozen=True, kw_only=True)
class PLCAConfig(Config):
    """`num_steps` is the length of the training, over which weights grow; None takes the Run's.

    At most `most` words are compared.
    """

    num_steps: int | None = None
    feature_weight: float = 0.1
    class_weight: float = 0.1
    smoothing_weight: float = 0.01
    word_weight: float = 0.1
    most: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [each for each in (self.num_steps, self.most) if each is not None]
        weights = (self.feature_weight, self.class_weight, self.smoothing_weight, self.word_weight)
        if min(counts) < 1 or not min(weights) >= 0:
            raise InputError(
                f"PLCA's num_steps are {self.num_steps}, its most {self.most} and its weights {weights}; expected "
                "positive numbers and weights of 0 or more."
            )

    def build(self, system: nn.Module, vocabulary: tuple[str, ...]) -> "PLCA":
        return PLCA(system, self)


class PLCA(PairObjective):
    """The terms of the system's own loss on the source, and `pixels`, `classes`, `smoothing` and `words`."""

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        config = self.config
        pixels, classes, smoothing = association(source, target)
        own = {
            "pixels": config.feature_weight * pixels,
            "classes": config.class_weight * classes,
            "smoothing": config.smoothing_weight * smoothing,
            "words": config.word_weight * losses.mmd(*(self.some(each.words(), step) for each in (source, target))),
        }
        return {name: self.ramp(step) * term for name, term in own.items()}


def association(source: Domain, target: Domain) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """The losses of features and of class probabilities, and the smoothing of both domains' predictions.

    Sample k of the source is associated with sample k of the target; the rest of a longer domain is left out.
    """
    assert source.batch.masks is not None  # the system's own loss has read them
    visual = source.output.features["visual"], target.output.features["visual"]
    size = visual[0].shape[2], visual[0].shape[3]
    labels = rearrange(losses.cell_masks(source.batch.masks, size), "b y x -> b (y x)")
    is_photo = photo_cells(source.batch, size), photo_cells(target.batch, size)
    classes = _probabilities(source.output.logits, size), _probabilities(target.output.logits, size)
    pixels, kinds = [], []
    for k in range(min(len(source.batch), len(target.batch))):
        own, other = is_photo[0][k], is_photo[1][k]
        rows = [rearrange(each[k], "d y x -> (y x) d")[real] for each, real in zip(visual, (own, other), strict=True)]
        pixels.append(cycle_loss(cosines(rows[0], smoothed(rows[1])), labels[k, own]))
        theirs = classes[1][k, other]
        theirs = (theirs + divergences(theirs, theirs).softmax(-1) @ theirs) / 2
        kinds.append(cycle_loss(divergences(classes[0][k, own], theirs), labels[k, own]))
    smoothing = label_smoothing(classes[0][is_photo[0]]) + label_smoothing(classes[1][is_photo[1]])
    return torch.stack(pixels).mean(), torch.stack(kinds).mean(), smoothing


def cycle_loss(similarity: Float[Tensor, "n m"], labels: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean of -log p(i → j*) q(j* → i*) over the source cells i whose cycle ends in their class; 0 without cells.

    The most similar pair of all always forms such a cycle.
    """
    if not similarity.numel():
        return similarity.sum()
    there, back = scores(similarity), scores(similarity.mT)
    target = there.argmax(dim=1)
    end = back[target].argmax(dim=1)
    is_closed = labels[end] == labels
    probability = there.gather(1, target[:, None]) * back[target].gather(1, end[:, None])
    return -probability[is_closed].log().clamp(min=LOWEST_LOG).mean()


def scores(similarity: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The softmax of rows with zero mean and unit variance, through which no gradient passes."""
    fixed = similarity.detach()
    mean = fixed.mean(dim=1, keepdim=True)
    deviation = fixed.std(dim=1, keepdim=True) if similarity.shape[1] > 1 else torch.zeros_like(mean)
    return ((similarity - mean) / (deviation + TINY)).softmax(dim=-1)


def smoothed(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Spatial aggregation: half of each row and half of those that resemble it."""
    return (rows + scores(cosines(rows, rows)) @ rows) / 2


def cosines(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).mT


def divergences(first: Float[Tensor, "n classes"], second: Float[Tensor, "m classes"]) -> Float[Tensor, "n m"]:
    """-KL(P_i ‖ P_j) of each pair of rows."""
    logs = (first + TINY).log()
    return first @ (second + TINY).log().mT - (first * logs).sum(1, keepdim=True)


def label_smoothing(probabilities: Float[Tensor, "n classes"]) -> Float[Tensor, ""]:
    """The published regulariser: ℓ = -mean of the classes' log P, weighted by ℓ/10 - 1 without a gradient."""
    term = -(probabilities + TINY).log().mean(dim=1)
    return ((term / 10 - 1).detach() * term).mean()


def _probabilities(logits: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b n classes"]:
    """Foreground's and background's, averaged over the pixels of each cell."""
    foreground = F.interpolate(logits.sigmoid()[:, None], size=size, mode="area")
    return rearrange(torch.cat([foreground, 1 - foreground], dim=1), "b classes y x -> b (y x) classes")
