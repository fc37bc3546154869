"""The reciprocal relation branch of SDA (Section 3.3.2): three sets of pixels, and Eq. 6 between them and the query.

Eq. 6 is a quantity to maximise, and Eq. 7 adds it to a loss: the loss here is its negative.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Form = Literal["jensen-shannon", "literal"]


def hierarchy(
    foreground: Bool[Tensor, "b n"], background: Bool[Tensor, "b n"], semantic: Bool[Tensor, "b n"]
) -> tuple[Bool[Tensor, "b n"], Bool[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Instance A ∩ Ā, category A ∪ Ā and the background of a target image.

    A is the domain-based mask, `foreground` and `background` of which leave pixels out, and Ā the `semantic` one.
    Pixels that A leaves out and Ā does not hold are in none of the sets.
    """
    category = foreground | semantic
    return foreground & semantic, category, background & ~category


class RelationScore(nn.Module):
    """T(q, v) = (A q) · (B v) / √d, of a query and pixels; one for both domains and both terms."""

    def __init__(self, query_width: int, visual_width: int, width: int = 256) -> None:
        super().__init__()
        self.query = nn.Linear(query_width, width, bias=False)
        self.pixel = nn.Linear(visual_width, width, bias=False)

    def forward(self, query: Float[Tensor, " e"], pixels: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.pixel(pixels) @ self.query(query) * self.query.out_features**-0.5


def relation_loss(
    positive: Float[Tensor, " n"], negative: Float[Tensor, " m"], form: Form = "jensen-shannon"
) -> Float[Tensor, ""]:
    """The negative of Eq. 6 for the scores of two sets of pixels; 0 where one is empty.

    `literal` is E[softplus T⁻] - E[softplus T⁺], which has no lower bound. The default is the Jensen-Shannon estimator
    of the work that Eq. 6 follows (Hjelm et al., ICLR 2019): E[softplus -T⁺] + E[softplus T⁻].
    """
    if not len(positive) or not len(negative):
        return torch.cat([positive, negative]).sum() * 0.0
    if form == "literal":
        return F.softplus(negative).mean() - F.softplus(positive).mean()
    return F.softplus(-positive).mean() + F.softplus(negative).mean()
