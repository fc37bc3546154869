"""SaG's entity discovery: slots drawn from a few Gaussians compete for the patches of an image."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

# What the slots start from (Figure A3); `random-narrow` has the spread of `entity`, which `random` has not.
Slots = Literal["entity", "random", "random-narrow", "query"]
KeysValues = tuple[Float[Tensor, "b h c e"], Float[Tensor, "b h c e"]]
SPREAD = math.log(1 / 512)  # added to log σ², as published


class Attention(nn.Module):
    """Multi-head attention without biases of query, key and value; it returns its weights, too, at least in float32.

    With `over_queries` the softmax runs over the queries, and each query's weights are then divided by their sum.
    `sharpness` multiplies the scores before the softmax.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        dropout: float,
        *,
        over_queries: bool = False,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.heads, self.scale, self.over_queries = heads, sharpness * head_width**-0.5, over_queries
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key = nn.Linear(width, heads * head_width, bias=False)
        self.value = nn.Linear(width, heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width)
        self.dropout = nn.Dropout(dropout)

    def read(self, context: Float[Tensor, "b c d"]) -> KeysValues:
        """The keys and the values of a context, which several calls may share."""
        key, value = (
            rearrange(project(context), "b n (h d) -> b h n d", h=self.heads) for project in (self.key, self.value)
        )
        return key, value

    def forward(
        self, queries: Float[Tensor, "b q d"], read: KeysValues
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q c"]]:
        key, value = read
        query = rearrange(self.query(queries), "b n (h d) -> b h n d", h=self.heads)
        scores = einsum(query, key, "b h q d, b h c d -> b h q c") * self.scale
        # In single precision: untrained slots hold all patches alike but for less than half precision resolves.
        single = torch.promote_types(scores.dtype, torch.float32)
        weights = used = scores.to(single).softmax(2 if self.over_queries else 3)
        if self.over_queries:
            used = weights / (weights.sum(-1, keepdim=True) + 1e-7)
        mixed = einsum(used.to(value.dtype), value, "b h q c, b h c d -> b h q d")
        return self.dropout(self.output(rearrange(mixed, "b h q d -> b q (h d)"))), weights


class FeedForward(nn.Module):
    """A norm, then two linear layers with GELU between them, and a residual connection."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(4 * width, width)

    def forward(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return features + self.output(self.dropout(F.gelu(self.hidden(self.norm(features)))))


class CrossLayer(nn.Module):
    """A pre-norm transformer layer whose queries attend to another set of tokens."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        dropout: float,
        hidden_dropout: float,
        *,
        over_queries: bool,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.context_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width, dropout, over_queries=over_queries, sharpness=sharpness)
        self.feed_forward = FeedForward(width, hidden_dropout)

    def forward(
        self, queries: Float[Tensor, "b q d"], context: Float[Tensor, "b c d"]
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q c"]]:
        return self.attend(queries, self.read(context))

    def read(self, context: Float[Tensor, "b c d"]) -> KeysValues:
        return self.attention.read(self.context_norm(context))

    def attend(
        self, queries: Float[Tensor, "b q d"], read: KeysValues
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q c"]]:
        """The same with what `read` returned."""
        mixed, weights = self.attention(self.norm(queries), read)
        return self.feed_forward(queries + mixed), weights


class SelfLayer(nn.Module):
    """A pre-norm transformer layer of self-attention."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width, dropout)
        self.feed_forward = FeedForward(width, dropout)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        normed = self.norm(tokens)
        return self.feed_forward(tokens + self.attention(normed, self.attention.read(normed))[0])


class StartSlots(nn.Module):
    """The vectors that the slots start from: means plus noise, or free parameters."""

    def __init__(self, kind: Slots, gaussians: int, samples: int, width: int) -> None:
        super().__init__()
        self.kind, self.count, self.samples = kind, gaussians * samples, samples
        if kind == "query":
            self.params = nn.Parameter(torch.randn(self.count, width))
            return
        shape = (1, gaussians if kind == "entity" else 1, width)
        self.slots_mu = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))
        log_sigma = nn.init.xavier_uniform_(torch.empty(shape))
        self.slots_log_sigma = nn.Parameter(log_sigma if kind == "random" else log_sigma + SPREAD)

    def forward(self, noise: Float[Tensor, "i k d"]) -> Float[Tensor, "i k d"]:
        if self.kind == "query":
            return self.params.expand(noise.shape[0], -1, -1)
        times = self.samples if self.kind == "entity" else self.count
        mean, log = (each.repeat_interleave(times, 1) for each in (self.slots_mu, self.slots_log_sigma))
        return mean + (log if self.kind == "random" else 0.5 * log).exp() * noise  # `random`: a log of σ, as published


def sine_positions(rows: int, columns: int, width: int, like: Tensor) -> Float[Tensor, "y x d"]:
    """Sines and cosines of the row in the first half of the channels, of the column in the second."""
    half = width // 2
    channel = torch.arange(half, device=like.device)
    period = 10000 ** (2 * (channel // 2).float() / half)

    def axis(count: int) -> Tensor:
        place = torch.arange(1, count + 1, device=like.device).float() / (count + 1e-6) * 2 * math.pi
        angle = place[:, None] / period
        return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

    down = axis(rows)[:, None].expand(rows, columns, half)
    across = axis(columns)[None].expand(rows, columns, half)
    return torch.cat([down, across], -1).to(like.dtype)
