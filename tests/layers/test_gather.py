"""Rows of several processes: their order, and gradients that add up to those of one process."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from deixis.layers.gather import gather
from tests.processes import in_each_of_two

RANKS, ROWS = 2, 3


def test_in_one_process_the_rows_are_returned_as_they_are() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather(rows) is rows


def test_rows_of_all_processes_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    in_each_of_two(run, tmp_path)
    whole = rows_of_all().requires_grad_()
    contrast(whole).backward()
    assert whole.grad is not None
    for rank in range(RANKS):
        rows, gradient = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(rows, whole.detach())
        # Each process adds the gradient of the whole loss; data-parallel training divides by their number.
        torch.testing.assert_close(gradient / RANKS, whole.grad[rank * ROWS : (rank + 1) * ROWS], atol=1e-6, rtol=0)


def rows_of_all() -> Tensor:
    return torch.randn(RANKS * ROWS, 4, generator=torch.Generator().manual_seed(0))


def contrast(rows: Tensor) -> Tensor:
    return (rows @ rows.T).logsumexp(1).mean()


def run(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    own = rows_of_all()[rank * ROWS : (rank + 1) * ROWS].clone().requires_grad_()
    rows = gather(own)
    contrast(rows).backward()
    torch.save((rows.detach(), own.grad), folder / f"{rank}.pt")
    dist.destroy_process_group()
