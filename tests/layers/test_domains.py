"""Two domains as one batch, and the rows that adaptation compares."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from deixis.batch import Batch, Output, Pair
from deixis.layers.domains import all_rows, cells, joined, parted, photo_cells, ramp, some_rows, words
from tests.processes import in_each_of_two

COUNTS = (3, 1)  # of the rows of two processes


def domain(count: int, tokens: int, seed: int, frames: int = 1) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.randn(count, frames, 3, 8, 12, generator=draw),
        token_ids=torch.randint(1, 9, (count, tokens), generator=draw),
        token_mask=torch.ones(count, tokens, dtype=torch.bool),
        masks=torch.rand(count, 8, 12, generator=draw) > 0.5,
    )


def test_joined_domains_are_their_expressions_one_after_the_other() -> None:
    source, target = domain(2, 3, 0), domain(3, 5, 1)
    target = replace(target, images=target.images[:2], image_index=torch.tensor([1, 0, 1]))
    both = joined(Pair(source=source, target=target))
    assert both.masks is None
    expected = torch.cat([source.target_frames(), target.target_frames()[[1, 0, 1]]])
    assert torch.equal(both.expand(both.target_frames()), expected)
    assert both.token_mask.sum(1).tolist() == [3, 3, 5, 5, 5]
    assert torch.equal(both.token_ids[:2, :3], source.token_ids)
    assert torch.equal(both.token_ids[2:], target.token_ids)


def test_joined_clips_keep_their_target_frames() -> None:
    source, target = domain(2, 3, 0, frames=3), domain(1, 3, 1, frames=3)
    source = replace(source, frames=torch.tensor([0, 2]))
    both = joined(Pair(source=source, target=target))
    assert torch.equal(both.target_frames(), torch.cat([source.target_frames(), target.target_frames()]))


def test_an_output_is_parted_with_all_of_its_features() -> None:
    rows = torch.arange(5.0)
    maps = rows[:, None, None].expand(5, 4, 4)
    output = Output(logits=maps, presence=rows, features={"query": maps, "responses": [maps, rows]})
    for part, expected in zip(parted(output, 2), (rows[:2], rows[2:]), strict=True):
        assert part.presence is not None
        assert torch.equal(part.presence, expected)
        assert torch.equal(part.logits[:, 0, 0], expected)
        assert torch.equal(part.features["query"][:, 0, 0], expected)
        assert torch.equal(part.features["responses"][1], expected)


def test_cells_of_the_padding_are_left_out() -> None:
    batch = domain(2, 3, 0)
    batch.images[0, :, :, 4:] = 0
    visual = torch.randn(2, 5, 4, 6)
    assert photo_cells(batch, (4, 6)).reshape(2, 4, 6)[0, :, 0].tolist() == [True, True, False, False]
    first, second = cells(visual, batch)
    assert torch.equal(first, visual[0, :, :2].flatten(1).T)
    assert torch.equal(second, visual[1].flatten(1).T)


def test_words_are_the_real_ones_of_the_batch() -> None:
    batch = replace(domain(2, 3, 0), token_mask=torch.tensor([[True, True, False], [True, False, False]]))
    query = torch.randn(2, 5, 4)  # padded by the other domain
    assert torch.equal(words(query, batch), torch.stack([query[0, 0], query[0, 1], query[1, 0]]))


def test_some_rows_are_drawn_once_each_and_the_same_for_a_seed() -> None:
    rows = torch.arange(50.0)[:, None]
    drawn = some_rows(rows, 20, seed=3)
    assert len(set(drawn.flatten().tolist())) == 20
    assert torch.equal(drawn, some_rows(rows, 20, seed=3))
    assert not torch.equal(drawn, some_rows(rows, 20, seed=4))
    assert some_rows(rows, 50, seed=3) is rows


def test_the_ramp_grows_from_zero_to_nearly_one() -> None:
    assert ramp(0, 10) == 0
    assert ramp(5, 10) == pytest.approx(2 / (1 + np.exp(-5)) - 1)
    assert ramp(10, 10) == ramp(20, 10) == pytest.approx(1, abs=1e-4)


def test_rows_of_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    whole = every_row().requires_grad_()
    assert all_rows(whole) is whole
    contrast(whole).backward()
    assert whole.grad is not None
    in_each_of_two(run, tmp_path)
    for rank, part in enumerate(whole.grad.split(COUNTS)):
        rows, gradient = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(rows, whole.detach())
        torch.testing.assert_close(gradient / 2, part, atol=1e-6, rtol=0)


def every_row() -> Tensor:
    return torch.randn(sum(COUNTS), 4, generator=torch.Generator().manual_seed(0))


def contrast(rows: Tensor) -> Tensor:
    return (rows @ rows.T).logsumexp(1).mean()


def run(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    own = every_row().split(COUNTS)[rank].clone().requires_grad_()
    rows = all_rows(own)
    contrast(rows).backward()
    torch.save((rows.detach(), own.grad), folder / f"{rank}.pt")
    dist.destroy_process_group()
