"""The random walks of IRN and PSA, which spread activation maps over the cells that belong together."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .affinity import AffinityNetwork, offsets, pair

SMALL = 1e-5  # added to a map's maximum, as in the published code of IRN


@torch.no_grad()
def transition(
    network: AffinityNetwork,
    described: Float[Tensor, "c y x"],
    inside: Bool[Tensor, "y x"],
    radius: float,
    exponent: float,
) -> Tensor:
    """T `[n n]`, sparse: a^β of cells nearer than `radius`, 1 of a cell and itself, columns with a sum of 1.

    A cell outside the photo has only itself.
    """
    cells = torch.arange(inside.numel(), device=inside.device).reshape(inside.shape)
    rows, columns, values = [cells.flatten()], [cells.flatten()], [torch.ones(inside.numel(), device=inside.device)]
    for offset in offsets(radius):
        first, second = pair(cells, offset)
        is_real = torch.logical_and(*pair(inside, offset))
        if not is_real.any():
            continue
        weight = network.head.affinities(described[None].float(), offset)[0][is_real] ** exponent
        first, second = first[is_real], second[is_real]
        rows, columns, values = [*rows, first, second], [*columns, second, first], [*values, weight, weight]
    row, column, value = torch.cat(rows), torch.cat(columns), torch.cat(values)
    sums = torch.zeros(inside.numel(), device=inside.device).index_add_(0, column, value)
    size = (inside.numel(), inside.numel())
    return torch.sparse_coo_tensor(torch.stack([row, column]), value / sums[column], size, check_invariants=False)


def walked(scores: Float[Tensor, "k y x"], step: Tensor, doublings: int) -> Float[Tensor, "k y x"]:
    """scores · T^(2^doublings), step by step: for a few maps this is less work than squaring T, which fills it."""
    found, back = scores.flatten(1).mT, step.mT.coalesce()
    for _ in range(2**doublings):
        found = torch.sparse.mm(back, found)
    return found.mT.reshape(scores.shape)


def boundary_walk(
    network: AffinityNetwork,
    described: Float[Tensor, "1 y x"],
    maps: Float[Tensor, "k y x"],
    inside: Bool[Tensor, "y x"],
    *,
    radius: float = 5.0,
    exponent: float = 10.0,
    doublings: int = 8,
) -> Float[Tensor, "k y x"]:
    """IRN: (CAM · (1 - B)) · T^(2^doublings), divided by its maximum over all categories."""
    step = transition(network, described, inside, radius, exponent)
    found = walked(maps * (1 - described.float()), step, doublings)
    return found / (found.amax() + SMALL)


def feature_walk(
    network: AffinityNetwork,
    described: Float[Tensor, "c y x"],
    maps: Float[Tensor, "k y2 x2"],
    inside: Bool[Tensor, "y x"],
    *,
    radius: float = 5.0,
    exponent: float = 8.0,
    background: float = 16.0,
    doublings: int = 8,
) -> tuple[Float[Tensor, "k y2 x2"], Float[Tensor, "y2 x2"]]:
    """PSA: the maps and the background's score, (1 - their maximum)^16, after the walk; `inside` is at stride 8."""
    coarse = _resized(maps, inside.shape)
    back = (1 - coarse.amax(dim=0, keepdim=True)).clamp(min=0) ** background
    step = transition(network, described, inside, radius, exponent)
    found = _resized(walked(torch.cat([coarse, back]), step, doublings), maps.shape[1:])
    return found[:-1], found[-1]


def _resized(maps: Float[Tensor, "k y x"], size: tuple[int, ...]) -> Float[Tensor, "k y2 x2"]:
    return F.interpolate(maps[None], size=tuple(size), mode="bilinear", align_corners=False)[0]
