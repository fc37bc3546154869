"""The query encoder of SDA's base network (Appendix A): word vectors, then a bidirectional GRU (Cho et al., 2014)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import InputError
from .glove import WordTable
from .words import LONGEST


@dataclass(frozen=True, kw_only=True)
class GRUConfig:
    """The sizes of the word table and of the GRU; `glove` tables are filled from a file and not trained."""

    vocabulary: int = 10_000
    embedding: int = 300  # of the published GloVe files
    width: int = 1024  # of both directions together
    glove: bool = False
    tokenizer: ClassVar[str] = "words"
    longest_sentence: ClassVar[int] = LONGEST

    def __post_init__(self) -> None:
        for name in ("vocabulary", "embedding", "width"):
            if (size := getattr(self, name)) < 1:
                raise InputError(f"The GRU's {name!r} is {size}; expected a positive number.")
        if self.width % 2:
            raise InputError(f"The GRU's width is {self.width}; expected an even number, half for each direction.")


class WordEncoder(nn.Module):
    """Word ids to the vectors W of the words and to the query features Q."""

    def __init__(self, config: GRUConfig) -> None:
        super().__init__()
        self.config = config
        self.words = WordTable(config.vocabulary, config.embedding, fixed=config.glove)
        self.gru = BiGRU(config.embedding, config.width)

    def forward(
        self, token_ids: Int[Tensor, "b l"], token_mask: Bool[Tensor, "b l"]
    ) -> tuple[Float[Tensor, "b l e"], Float[Tensor, "b l d"]]:
        words = self.words(token_ids)
        return words, self.gru(words, token_mask)


class BiGRU(nn.Module):
    """One layer, half of the width in each direction; the features of padding are zero.

    The same numbers as `nn.GRU` on a packed sequence, and the same names of weights. Written as a loop, because
    `torch.compile` supports neither, and because a packed sequence needs its lengths on the CPU.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        half = width // 2
        for direction in ("l0", "l0_reverse"):
            for name, columns in (("ih", inputs), ("hh", half)):
                weight, bias = torch.empty(3 * half, columns), torch.empty(3 * half)
                self.register_parameter(f"weight_{name}_{direction}", nn.Parameter(weight))
                self.register_parameter(f"bias_{name}_{direction}", nn.Parameter(bias))
        for weight in self.parameters():
            nn.init.uniform_(weight, -(half**-0.5), half**-0.5)  # as nn.GRU

    def forward(self, features: Float[Tensor, "b l e"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        length = features.shape[1]
        both = [
            self._direction(features, token_mask, "l0", range(length)),
            self._direction(features, token_mask, "l0_reverse", range(length - 1, -1, -1)),
        ]
        return torch.cat(both, dim=-1) * token_mask[..., None]

    def _direction(
        self, features: Tensor, token_mask: Tensor, direction: str, order: range
    ) -> Float[Tensor, "b l half"]:
        """The state after each word, from zero; padding leaves it as it is."""
        weight, bias = getattr(self, f"weight_hh_{direction}"), getattr(self, f"bias_hh_{direction}")
        given = F.linear(features, getattr(self, f"weight_ih_{direction}"), getattr(self, f"bias_ih_{direction}"))
        state = given.new_zeros(given.shape[0], weight.shape[1])
        states: list[Tensor] = [state] * len(order)
        for place in order:
            reset, update, new = given[:, place].chunk(3, dim=-1)
            own_reset, own_update, own_new = F.linear(state, weight, bias).chunk(3, dim=-1)
            update = torch.sigmoid(update + own_update)
            new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            state = torch.where(token_mask[:, place, None], new + update * (state - new), state)
            states[place] = state
        return torch.stack(states, dim=1)
