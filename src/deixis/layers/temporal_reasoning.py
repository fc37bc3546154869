"""CMPC-V's reasoning over time (Liu et al., TPAMI 2021): a graph of frames, which are pooled by a sentence's actions.

Norms are those of CMPC's other graph, over nodes and channels together.
"""

import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from .coordinates import unit

NORM_EPSILON = 1e-12


class TemporalReasoning(nn.Module):
    """Frames are pooled by the sentence's action and exchange what they hold; every cell gathers from them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.action_key = nn.Linear(width, width)
        self.pool_key = nn.Linear(width, width, bias=False)  # a bias would shift all scores of a softmax alike
        self.node_query = nn.Linear(width, width)
        self.node_key = nn.Linear(width, width, bias=False)
        self.message_norm = WholeNorm(width)
        self.graph = nn.Linear(width, width, bias=False)  # a norm follows, which has a shift of its own
        self.graph_norm = WholeNorm(width)
        self.cell_query = nn.Linear(width, width)
        self.frame_key = nn.Linear(width, width, bias=False)

    def forward(
        self, frames: Float[Tensor, "b t n d"], action: Float[Tensor, "b d"], cells: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b n d"]:
        """The temporal context of `cells`, vectors of length 1."""
        scale = cells.shape[-1] ** -0.5
        scores = einsum(self.pool_key(frames), self.action_key(action), "b t n d, b d -> b t n") * scale
        nodes = einsum(scores.softmax(dim=-1), frames, "b t n, b t n d -> b t d")
        adjacency = (self.node_query(nodes) * scale @ self.node_key(nodes).mT).softmax(dim=-1)
        hidden = F.relu(nodes + self.message_norm(adjacency @ nodes))
        reasoned = unit(F.relu(self.graph_norm(self.graph(hidden))), dim=-1)
        weights = (self.cell_query(cells) * scale @ self.frame_key(reasoned).mT).softmax(dim=-1)
        return unit(weights @ reasoned, dim=-1)


class WholeNorm(nn.Module):
    """Zero mean and unit variance over an expression's cells and channels together; scale and shift per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width, eps=NORM_EPSILON)

    def forward(self, features: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return self.norm(features.mT).mT
