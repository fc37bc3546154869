"""BERT, the text encoder (Devlin et al., NAACL 2019), whose layers can be run in groups.

- word, position and token-type embeddings, then transformer layers that normalise after each residual connection
- weights have the names of the published checkpoints, so that these load as they are; the pooler is omitted
- an expression is one sentence: only the first token type is used
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import InputError

BLOCKED = -1e4  # added to the attention scores of padding tokens, as published; float16 can represent it
EPSILON = 1e-12  # of the layer norms, as published
TOKEN_TYPES = 2  # as published
INIT_STD = 0.02  # of fresh weights, as published


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The size of a BERT; the defaults are those of bert-base-uncased."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    feed_forward: int = 3072
    vocabulary: int = 30522
    positions: int = 512
    dropout: float = 0.1
    tokenizer: ClassVar[str] = "wordpiece"

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "feed_forward", "vocabulary", "positions"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"BERT's {name!r} is {size}; expected a positive number.")
        if self.width % self.heads:
            raise InputError(
                f"BERT's width {self.width} is not divisible by its {self.heads} heads; choose a divisor of the width."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"BERT's 'dropout' is {self.dropout}; expected a probability in [0, 1).")

    @property
    def longest_sentence(self) -> int:
        """In tokens."""
        return self.positions


class Bert(nn.Module):
    """Token ids to features; padding tokens do not change the features of the real ones."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.bert = _Published(config)

    def embed(self, token_ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """The embeddings of the tokens and their positions, before any layer."""
        return self.bert.embeddings(token_ids)

    def layers(
        self, features: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"], start: int, stop: int
    ) -> Float[Tensor, "b l d"]:
        """The features after layers `start` to `stop - 1`."""
        bias = ((~token_mask).to(features.dtype) * BLOCKED)[:, None, None, :]
        for layer in self.bert.encoder.layer[start:stop]:
            features = layer(features, bias)
        return features

    def forward(self, token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        return self.layers(self.embed(token_ids), token_mask, 0, self.config.layers)


class BertLayer(nn.Module):
    """One transformer layer: self-attention and a feed-forward network, each with a residual connection and a norm."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, dropout)
        self.intermediate = _Intermediate(width, feed_forward)
        self.output = _Residual(feed_forward, width, dropout)

    def forward(
        self, features: Float[Tensor, "b l d"], bias: Float[Tensor, "#b #heads #l l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """`bias` is added to the attention scores before the softmax."""
        features = self.attention(features, bias)
        return self.output(self.intermediate(features), features)


class _Published(nn.Module):
    """The parts under the names of the published checkpoints."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.apply(_initialise)


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(TOKEN_TYPES, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=EPSILON)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, token_ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        tokens = self.word_embeddings(token_ids) + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(tokens + self.position_embeddings.weight[: token_ids.shape[1]]))


class _Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            BertLayer(config.width, config.heads, config.feed_forward, config.dropout) for _ in range(config.layers)
        )


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self = _SelfAttention(width, heads, dropout)
        self.output = _Residual(width, width, dropout)

    def forward(self, features: Tensor, bias: Tensor | None) -> Tensor:
        return self.output(self.self(features, bias), features)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, features: Tensor, bias: Tensor | None) -> Tensor:
        query, key, value = (
            rearrange(project(features), "b l (heads d) -> b heads l d", heads=self.heads)
            for project in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        return rearrange(mixed, "b heads l d -> b l (heads d)")


class _Intermediate(nn.Module):
    def __init__(self, width: int, feed_forward: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, feed_forward)

    def forward(self, features: Tensor) -> Tensor:
        return F.gelu(self.dense(features))


class _Residual(nn.Module):
    """A projection with dropout, added to what it was computed from, then normalised."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(features)) + residual)


def _initialise(module: nn.Module) -> None:
    """Fresh weights as published: normal, with biases and the padding token's embedding zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])
