"""Pure loss functions: what more than one system is trained with, each against a boolean mask."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def bce(logits: Float[Tensor, "b *size"], masks: Bool[Tensor, "b *size"]) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over all pixels."""
    return F.binary_cross_entropy_with_logits(logits.float(), masks.float())


def dice(logits: Float[Tensor, "b *size"], masks: Bool[Tensor, "b *size"]) -> Float[Tensor, ""]:
    """One minus the soft Dice score of each mask, smoothed by one pixel, so that an empty mask has a gradient too."""
    chance, target = logits.float().sigmoid().flatten(1), masks.flatten(1).float()
    overlap = (chance * target).sum(1)
    return (1 - (2 * overlap + 1) / (chance.sum(1) + target.sum(1) + 1)).mean()


def weighted_cross_entropy(
    logits: Float[Tensor, "b 2 *size"],
    masks: Bool[Tensor, "b *size"],
    weights: tuple[float, float] = (0.9, 1.1),
) -> Float[Tensor, ""]:
    """Cross-entropy of (background, target), each pixel weighed by its class; LAVT's 0.9 and 1.1 by default."""
    return F.cross_entropy(logits.float(), masks.long(), weight=logits.new_tensor(weights).float())


def pixel_contrast(logits: Float[Tensor, "b y x"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """VEGA's Eq. 5 on `logits` = similarity / temperature: -log σ inside the target, -log(1 - σ) outside it.

    The target comes down to the feature grid by areas: a cell that the target half covers counts half as inside,
    half as outside. Any other resizing would lose the targets that are smaller than a cell.
    """
    inside = F.interpolate(masks[:, None].float(), size=logits.shape[-2:], mode="area")[:, 0]
    return F.binary_cross_entropy_with_logits(logits.float(), inside)
