"""What one optimiser step is made of: its precision, its randomness, and the loss that it tells of."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from deixis.batch import Batch, Output
from deixis.training.engine import Engine, Objective, Precision
from deixis.training.muon import Muon
from deixis.training.optim import Optimiser

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny.py"))))


def engine(
    precision: Precision = "fp32", *, optimiser: Optimiser | None = None, seed: int = 0, parts: int = 1
) -> Engine:
    torch.manual_seed(0)
    return Engine(tiny.Shown(0.3), optimiser or Optimiser(), precision, seed, compiled=False, parts=parts)


def batches(count: int = 1) -> list[Batch]:
    return list(tiny.batches().stream(0, 1, parts=count))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_forward_is_narrow_where_asked_for_and_the_loss_never_is(precision: Precision) -> None:
    narrow, seen = [], []

    class Watched(tiny.Shown):
        def forward(self, batch: Batch) -> Output:
            output = super().forward(batch)
            output.evidence["numbers"] = batch.token_ids
            narrow.append((torch.is_autocast_enabled("cpu"), output.logits.dtype, output.evidence["pixels"].dtype))
            return output

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            dtypes = {name: value.dtype for name, value in output.evidence.items()}
            seen.append((torch.is_autocast_enabled("cpu"), output.logits.dtype, dtypes))
            return super().loss(batch, output)

    watched = Engine(Watched(), Optimiser(), precision, seed=0, compiled=False, parts=1)
    watched.step(batches(), 0, 1.0)
    inside = torch.bfloat16 if precision == "bf16" else torch.float32
    assert narrow == [(precision == "bf16", inside, inside)]
    full = {"words": torch.float32, "pixels": torch.float32, "numbers": torch.int64}
    assert seen == [(False, torch.float32, full)]


def test_a_step_is_seeded_by_the_runs_seed_the_step_and_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[tuple[int, int, int]] = []
    of_seed_seven = engine(seed=7)
    monkeypatch.setattr("deixis.training.engine.seed_step", lambda *seed: seeds.append(seed))
    monkeypatch.setattr(Accelerator, "process_index", 3)
    of_seed_seven.step(batches(), 4, 1.0)
    assert seeds == [(7, 4, 3)]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_muon_works_in_the_runs_precision(precision: Precision, dtype: torch.dtype) -> None:
    muon = engine(precision, optimiser=Optimiser(matrix_lr=0.02)).plain_optimiser
    assert isinstance(muon, Muon)
    assert muon.dtype is dtype


def test_the_loss_told_of_accumulated_parts_is_their_mean() -> None:
    parted = engine(parts=3)
    parts = batches(3)
    parted.objective.eval()  # without dropout
    with torch.no_grad():
        expected = torch.stack([Objective(parted.system)(part)["mask"] for part in parts]).mean()
    parted.step(parts, 0, 1.0)
    ((step, terms),) = parted.losses
    assert step == 1
    torch.testing.assert_close(terms, {"mask": expected})
