"""A long short-term memory (Hochreiter and Schmidhuber, 1997) over the words of an expression."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class LSTM(nn.Module):
    """One layer, from the first word to the last; the features of padding are zero.

    The same numbers as `nn.LSTM` on a packed sequence, and the same names of weights. Written as a loop, because
    `torch.compile` supports neither, and because a packed sequence needs its lengths on the CPU.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        for name, columns in (("ih", inputs), ("hh", width)):
            weight, bias = torch.empty(4 * width, columns), torch.empty(4 * width)
            self.register_parameter(f"weight_{name}_l0", nn.Parameter(weight))
            self.register_parameter(f"bias_{name}_l0", nn.Parameter(bias))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)  # as nn.LSTM

    def forward(self, features: Float[Tensor, "b l e"], token_mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        recurrent: Tensor = self.get_parameter("weight_hh_l0")
        given = F.linear(features, self.get_parameter("weight_ih_l0"), self.get_parameter("bias_ih_l0"))
        given = given + self.get_parameter("bias_hh_l0")
        state = cell = given.new_zeros(given.shape[0], recurrent.shape[1])
        states = []
        for place in range(features.shape[1]):
            enter, forget, new, leave = (given[:, place] + F.linear(state, recurrent)).chunk(4, dim=-1)
            updated = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            is_real = token_mask[:, place, None]
            cell = torch.where(is_real, updated, cell)
            state = torch.where(is_real, torch.sigmoid(leave) * torch.tanh(updated), state)
            states.append(state)
        return torch.stack(states, dim=1) * token_mask[..., None]
