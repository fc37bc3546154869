"""BERT, the language encoder, layer by layer, so that others can weave something between its stages."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import BertConfig as PublishedConfig
from transformers import BertModel

from ..errors import InputError

BLOCKED = -1e4  # added to the scores of padding words, as published; small enough for float16


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

    def __post_init__(self) -> None:
        sizes = ("layers", "width", "heads", "feed_forward", "vocabulary", "positions")
        for name in sizes:
            if (size := getattr(self, name)) < 1:
                raise InputError(f"BERT's {name} cannot be {size}; give a positive number.")
        if self.width % self.heads:
            raise InputError(
                f"BERT has {self.width} channels, which {self.heads} heads cannot share; choose a divisor."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"BERT's dropout is a probability in [0, 1), not {self.dropout}.")


class Bert(nn.Module):
    """Words to features; padding words change nothing for the real ones."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        published = PublishedConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            max_position_embeddings=config.positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
        published._attn_implementation = "sdpa"
        self.bert = BertModel(published, add_pooling_layer=False)

    def number(self) -> None:
        """Fill what no checkpoint holds: the places' numbers, and the one sentence that all words are of."""
        embeddings = self.bert.embeddings
        embeddings.position_ids = torch.arange(self.config.positions, device=embeddings.position_ids.device)[None]
        embeddings.token_type_ids = torch.zeros_like(embeddings.position_ids)

    def embed(self, words: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """What a word is and where it stands, before any layer."""
        return self.bert.embeddings(input_ids=words)

    def layers(
        self, features: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"], start: int, stop: int
    ) -> Float[Tensor, "b l d"]:
        """Layers `start` to `stop - 1`."""
        scores_bias = ((~token_mask).to(features.dtype) * BLOCKED)[:, None, None, :]
        for layer in self.bert.encoder.layer[start:stop]:
            features = layer(features, scores_bias)
        return features

    def forward(self, words: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        return self.layers(self.embed(words), token_mask, 0, self.config.layers)
