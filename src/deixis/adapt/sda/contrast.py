"""The contrastive feature branch of SDA (Section 3.3.1): reliable pixels, the memory bank, and Eq. 4.

Features are compared at unit length with a temperature of 0.1: the paper prints neither, and the exponentials of
products of features of 1,024 channels overflow.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Several = Literal["mean", "sum-in-log"]


def reliable(
    probabilities: Float[Tensor, "b n"], high: float = 0.9, low: float = 0.1
) -> tuple[Bool[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """The pseudo mask A^t: foreground above γ_max, background below γ_min; the rest belongs to neither."""
    return probabilities > high, probabilities < low


def feature_contrast(
    anchors: Float[Tensor, "n d"],
    positives: Float[Tensor, "p d"],
    negatives: Float[Tensor, "m d"],
    *,
    temperature: float = 0.1,
    several: Several = "mean",
) -> Float[Tensor, ""]:
    """Eq. 4 in one direction: each anchor against the other domain's reliable pixels; 0 without anchors or positives.

    The formula does not say how several positives enter: `mean` averages the logarithms of their ratios, `sum-in-log`
    takes the logarithm of their summed ratios.
    """
    if not len(anchors) or not len(positives):
        return anchors.sum() * 0.0
    queries = F.normalize(anchors, dim=-1) / temperature
    near = queries @ F.normalize(positives, dim=-1).mT
    every = torch.cat([near, queries @ F.normalize(negatives, dim=-1).mT], dim=1).logsumexp(dim=1)
    chosen = near.mean(dim=1) if several == "mean" else near.logsumexp(dim=1)
    return (every - chosen).mean()


def feature_agreement(anchors: Float[Tensor, "n d"], positives: Float[Tensor, "p d"]) -> Float[Tensor, ""]:
    """Table 5, "w/o contrastive": minus the mean cosine of all pairs of foreground pixels; 0 without a pair."""
    if not len(anchors) or not len(positives):
        return anchors.sum() * 0.0
    return -(F.normalize(anchors, dim=-1) @ F.normalize(positives, dim=-1).mT).mean()


class MemoryBank(nn.Module):
    """The latest `size` entries of each category of one domain; an entry holds some cells of one sample.

    The paper stores whole feature maps. Of 2,048 channels and 10 x 10 cells, 100 of them take 82 MB for each category;
    an entry here is `cells` unit vectors of the foreground and as many of the background. All of it is buffers, so that
    a resumed run goes on with the same memory.
    """

    foreground: Tensor
    background: Tensor
    entered: Tensor

    def __init__(self, categories: int, width: int, *, size: int = 100, cells: int = 16) -> None:
        super().__init__()
        self.size, self.cells = size, cells
        self.register_buffer("foreground", torch.zeros(categories, size, cells, width))
        self.register_buffer("background", torch.zeros(categories, size, cells, width))
        self.register_buffer("entered", torch.zeros(categories, dtype=torch.long))  # entries so far

    def resize(self, categories: int) -> None:
        """Empty, with room for as many categories."""
        self.foreground = self.foreground.new_zeros(categories, *self.foreground.shape[1:])
        self.background = self.background.new_zeros(categories, *self.background.shape[1:])
        self.entered = self.entered.new_zeros(categories)

    @torch.no_grad()
    def enter(
        self,
        category: int,
        foreground: Float[Tensor, "p d"],
        background: Float[Tensor, "m d"],
        generator: torch.Generator | None = None,
    ) -> None:
        """Store a sample in place of its category's oldest entry; one that lacks either kind of cells is left out."""
        if not len(foreground) or not len(background):
            return
        place = self.entered[category] % self.size
        self.foreground[category, place] = F.normalize(_drawn(foreground, self.cells, generator), dim=-1)
        self.background[category, place] = F.normalize(_drawn(background, self.cells, generator), dim=-1)
        self.entered[category] += 1

    def entries(self, category: int) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        """The foreground's and the background's vectors of a category, all entries one after another."""
        count = min(int(self.entered[category]), self.size)
        return self.foreground[category, :count].flatten(0, 1), self.background[category, :count].flatten(0, 1)


def _drawn(rows: Float[Tensor, "n d"], count: int, generator: torch.Generator | None) -> Float[Tensor, "count d"]:
    """As many rows, without repetition where there are enough."""
    order = torch.randperm(len(rows), generator=generator)
    return rows[order.repeat(-(-count // len(rows)))[:count].to(rows.device)]
