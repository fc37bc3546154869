"""The small convolutional network that makes a response map of a map of features (SDA, Appendix C.2)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResponseHead(nn.Module):
    """Three convolutions, 3x3, 3x3 and 1x1, with a residual connection around the second."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, features: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 1 y x"]:
        inner = F.relu(self.first(features))
        return self.last(F.relu(self.second(inner) + inner))
