"""What weak supervision must beat: a random entity of SaG, and a blob in the image's centre."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deixis.batch import Batch, Output

WIDTH = 1 / 8  # standard deviation of the blob, as a fraction of the image's side; half its height covers 7 % of it


class RandomEntity(nn.Module):
    """One of the image's entities for each expression, drawn by a hash of its tokens, whose meaning is lost."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        output = self.system(batch, explain=True)
        maps = output.evidence["entities"]
        chosen = torch.tensor([_draw(ids, maps.shape[1]) for ids in batch.token_ids.tolist()])
        picked = maps[torch.arange(len(maps)), chosen]
        return Output(logits=_enlarged(picked, output.logits))


class CentrePrior(nn.Module):
    """The same map for every image and expression: a Gaussian in the centre."""

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system  # it gives a device

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        height, width = batch.images.shape[-2:]
        down = (torch.arange(height) + 0.5) / height - 0.5
        across = (torch.arange(width) + 0.5) / width - 0.5
        blob = torch.exp(-(down[:, None].square() + across.square()) / (2 * WIDTH**2))
        return Output(logits=blob.logit(1e-6).expand(len(batch), -1, -1))


def _draw(token_ids: list[int], count: int) -> int:
    """A seeded draw that padding does not change."""
    seed = 0
    for token in token_ids:
        seed = (seed * 1_000_003 + token) % 2**31 if token else seed
    return int(torch.randint(count, (), generator=torch.Generator().manual_seed(seed)))


def _enlarged(maps: Float[Tensor, "b y x"], like: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    size = like.shape[-2:]
    return nn.functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0].logit(1e-6)
