"""Pure loss functions that more than one system or objective uses."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


def bce(logits: Float[Tensor, "b *size"], masks: Bool[Tensor, "b *size"]) -> Float[Tensor, ""]:
    """Binary cross-entropy, the mean over all pixels."""
    return F.binary_cross_entropy_with_logits(logits.float(), masks.float())


def cell_masks(masks: Bool[Tensor, "b h w"], size: tuple[int, int]) -> Bool[Tensor, "b y x"]:
    """Masks on a grid of features: the cells that are at least half covered, and at least the one that is most covered.

    An empty mask stays empty.
    """
    covered = F.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0]
    most = covered.flatten(1).amax(dim=1).clamp(max=0.5)[:, None, None]
    return (covered >= most) & (covered > 0)


def multilevel_bce(responses: Sequence[Tensor], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """SDA's Eq. 10: binary cross-entropy of response maps `[b y x]`, the mean over each map, summed over the maps."""
    levels = [bce(response, cell_masks(masks, (response.shape[-2], response.shape[-1]))) for response in responses]
    return torch.stack(levels).sum()


def dice(logits: Float[Tensor, "b *size"], masks: Bool[Tensor, "b *size"]) -> Float[Tensor, ""]:
    """One minus the soft Dice score of each mask, smoothed by one pixel, so that an empty mask has a gradient."""
    probability, target = logits.float().sigmoid().flatten(1), masks.flatten(1).float()
    overlap = (probability * target).sum(1)
    return (1 - (2 * overlap + 1) / (probability.sum(1) + target.sum(1) + 1)).mean()


def pixel_contrast(logits: Float[Tensor, "b y x"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """VEGA's Eq. 5 on `logits` = similarity / temperature: -log σ inside the target, -log(1 - σ) outside it.

    The mask is resized to the feature grid by areas: a cell that the target half covers counts half as inside and half
    as outside. Any other resizing would lose targets that are smaller than a cell.
    """
    inside = F.interpolate(masks[:, None].float(), size=logits.shape[-2:], mode="area")[:, 0]
    return F.binary_cross_entropy_with_logits(logits.float(), inside)


def cross_modal_alignment(
    pixels: Float[Tensor, "b y x d"],
    sentence: Float[Tensor, "b d"],
    masks: Bool[Tensor, "b h w"],
    temperatures: tuple[float, float] = (0.1, 0.3),
    most: int = 4096,
) -> Float[Tensor, ""]:
    """MagNet's alignment loss, the mean over the images whose target is not empty at the resolution of the features.

    For each pixel inside the target, against all pixels outside: InfoNCE with the target's mean feature
    (`temperatures[0]`), and of the sentence with the pixel (`temperatures[1]`). Features are normalised to unit length;
    the mean of those inside is not. Where a side has more than `most` pixels, `most` of them are drawn.
    """
    inside = F.interpolate(masks[:, None].float(), size=pixels.shape[1:3], mode="nearest")[:, 0].bool()
    features = rearrange(F.normalize(pixels.float(), dim=-1), "b y x d -> b (y x) d")
    texts = F.normalize(sentence.float(), dim=-1)
    losses = []
    for cells, text, target in zip(features, texts, inside.flatten(1), strict=True):
        if target.any():
            within, without = _some(cells[target], most), _some(cells[~target], most)
            # Features are divided by the temperature, which is cheaper than dividing all of their products.
            pixel_query, text_query = within / temperatures[0], text / temperatures[1]
            among_pixels = info_nce(pixel_query @ cells[target].mean(0), pixel_query @ without.T)
            losses.append(among_pixels + info_nce(within @ text_query, (without @ text_query)[None]))
    return torch.stack(losses).mean() if losses else (pixels.sum() + sentence.sum()) * 0.0


def mmd(source: Float[Tensor, "n d"], target: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy, with the sum of five Gaussian kernels (Long et al., ICML 2015).

    Their widths are β/4 to 4β, β the mean squared distance of two different rows of both sets; it has no gradient. The
    pairs of a row with itself are counted, as in the widely used port of DAN.
    """
    rows, count = torch.cat([source, target]).float(), len(source)
    norms = rows.square().sum(1)
    distances = (norms[:, None] + norms - 2 * rows @ rows.T).clamp(min=0)
    width = distances.detach().sum() / (len(rows) ** 2 - len(rows))
    width = width.clamp(min=torch.finfo(width.dtype).tiny)
    kernel = torch.stack([torch.exp(-distances / (width * 2.0 ** (power - 2))) for power in range(5)]).sum(0)
    return kernel[:count, :count].mean() + kernel[count:, count:].mean() - 2 * kernel[:count, count:].mean()


def info_nce(positive: Float[Tensor, " n"], negatives: Float[Tensor, "#n k"]) -> Float[Tensor, ""]:
    """The mean negative log-likelihood of each positive score among its negatives; without negatives it is 0."""
    if not negatives.shape[-1]:
        return positive.sum() * 0.0
    return F.softplus(torch.logsumexp(negatives, dim=-1) - positive).mean()


def image_text_contrast(
    images: Float[Tensor, "b d"], sentences: Float[Tensor, "b d"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """CLIP's loss of pairs of unit vectors: cross-entropy from images to sentences and back, half of each.

    `log_scale` is the logarithm of the learned scale, which is clamped to 100.
    """
    similarity = log_scale.exp().clamp(max=100.0) * images @ sentences.T
    own = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


def _some(rows: Tensor, most: int) -> Tensor:
    return rows if len(rows) <= most else rows[torch.randperm(len(rows), device=rows.device)[:most]]
