"""The text encoder that CLIP and GroupViT share: its sizes in transformers' names, and what is read of its output."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..records import Config


class TextSizes(Config):
    """A config with the sizes of CLIP's text encoder as fields of its own."""

    text_layers: int
    text_width: int
    text_heads: int
    text_feed_forward: int
    vocabulary: int
    positions: int

    @property
    def tokenizer(self) -> str:
        return "clip"

    @property
    def vocabulary_size(self) -> int:
        return self.vocabulary

    @property
    def longest_sentence(self) -> int:
        """In tokens."""
        return self.positions


def published_sizes(text: Any) -> dict[str, int]:
    """The fields of `TextSizes` from the text part of a config of transformers."""
    return {
        "text_layers": text.num_hidden_layers,
        "text_width": text.hidden_size,
        "text_heads": text.num_attention_heads,
        "text_feed_forward": text.intermediate_size,
        "vocabulary": text.vocab_size,
        "positions": text.max_position_embeddings,
    }


def settings(config: TextSizes) -> dict[str, int]:
    """The text part of a config of transformers."""
    return {
        "num_hidden_layers": config.text_layers,
        "hidden_size": config.text_width,
        "num_attention_heads": config.text_heads,
        "intermediate_size": config.text_feed_forward,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.positions,
        # Not used here: sentences end where the mask says. The published numbers do not fit other vocabularies.
        "bos_token_id": config.vocabulary - 2,
        "eos_token_id": config.vocabulary - 1,
        "pad_token_id": config.vocabulary - 1,
    }


def ends(words: Float[Tensor, "b l d"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    """The features of the end tokens, which are the last real ones."""
    return words[torch.arange(words.shape[0], device=words.device), token_mask.sum(1) - 1]
