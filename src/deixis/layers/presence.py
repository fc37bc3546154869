"""A head that says whether the referent is in the image, from what a system has computed for its mask."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import losses
from .attention import CrossAttention

Chosen = Bool[Tensor, " b"] | slice
ROUNDS = 2  # of attention to the words, then to the pixels


class PresenceHead(nn.Module):
    """Maps, words and the mask's logits to the logit of "the referent is in the image".

    A query that starts from the mask's pixels and the first word attends in turn to the words and to the cells of all
    maps. A cell also has its place and its probability in the mask, whose logits get no gradient from here.
    """

    def __init__(self, map_widths: Sequence[int], word_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Linear(word_width, width)
        self.cells = nn.ModuleList(nn.Linear(own + 3, width) for own in map_widths)
        self.start = nn.Linear((1 + 2 * len(map_widths)) * width + 3, width)
        self.rounds = nn.ModuleList(_Round(width, heads) for _ in range(ROUNDS))
        self.logit = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(
        self,
        maps: Sequence[Tensor],
        words: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        scores: Float[Tensor, "b y x"],
    ) -> Float[Tensor, " b"]:
        """`maps` are `[b y x c]`, each of its own size; `scores` are the mask's logits, on any grid."""
        scores = scores.detach().float()
        tokens, cells, pooled = self.words(words), [], []
        for features, project in zip(maps, self.cells, strict=True):
            inside = _resized(scores.sigmoid(), (features.shape[1], features.shape[2])).to(features.dtype)
            projected = project(torch.cat([features, inside[..., None], _places(features)], dim=-1))
            total = einsum(inside, projected, "b y x, b y x d -> b d")
            pooled += [total / (inside.sum((1, 2))[:, None] + 1e-3), projected.mean((1, 2))]
            cells.append(rearrange(projected, "b y x d -> b (y x) d"))
        facts = _facts(scores).to(tokens.dtype)
        query = self.start(torch.cat([tokens[:, 0], *pooled, facts], dim=-1))[:, None]
        for layer in self.rounds:
            query = layer(query, tokens, token_mask, torch.cat(cells, dim=1))
        return self.logit(query)[:, 0, 0]


class _Round(nn.Module):
    """The query attends to the words and then to the cells, each with a feed-forward network behind."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.look = nn.ModuleList(CrossAttention(width, heads) for _ in range(2))
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )

    def forward(
        self,
        query: Float[Tensor, "b 1 d"],
        tokens: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        cells: Float[Tensor, "b n d"],
    ) -> Float[Tensor, "b 1 d"]:
        contexts = ((tokens, token_mask[:, None]), (cells, None))
        for (context, mask), norm, look, hidden in zip(contexts, self.norms, self.look, self.hidden, strict=True):
            query = look(query, norm(context), mask)
            query = query + hidden(query)
        return query


def presence_terms(
    terms_of: Callable[[Chosen], dict[str, Tensor]],
    masks: Bool[Tensor, "b h w"],
    presence: Float[Tensor, " b"] | None,
    weight: float,
) -> dict[str, Tensor]:
    """The terms of the masks, and with a presence head those over the referents that are in their image, and its own.

    `terms_of` returns means over chosen expressions. They count as zero where no referent of the batch is in its image.
    """
    if presence is None:
        return terms_of(slice(None))
    is_present = masks.flatten(1).any(1)
    some = is_present.any()
    terms = terms_of(torch.where(some, is_present, ~is_present))
    return {name: term * some for name, term in terms.items()} | {"presence": weight * losses.bce(presence, is_present)}


def _resized(maps: Float[Tensor, "b y x"], size: tuple[int, int]) -> Float[Tensor, "b y2 x2"]:
    """Means over the areas of the cells."""
    return F.interpolate(maps[:, None], size=size, mode="area")[:, 0]


def _places(features: Float[Tensor, "b y x c"]) -> Float[Tensor, "b y x 2"]:
    """Each cell's row and column, from -1 to 1."""
    number, height, width = features.shape[:3]
    rows, columns = (
        (2 * torch.arange(side, device=features.device, dtype=features.dtype) + 1) / side - 1
        for side in (height, width)
    )
    grid = torch.stack([rows[:, None].expand(height, width), columns[None].expand(height, width)], dim=-1)
    return grid.expand(number, height, width, 2)


def _facts(scores: Float[Tensor, "b y x"]) -> Float[Tensor, "b 3"]:
    """The largest logit, the mean logit of the mask and the logarithm of its area, each of the order of one."""
    probability = scores.sigmoid()
    area = probability.mean((1, 2)) + 1e-4
    return torch.stack([scores.amax((1, 2)) / 10, (probability * scores).mean((1, 2)) / area / 10, area.log() / 5], -1)
