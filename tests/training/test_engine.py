"""One optimiser step: its precision, its random numbers, and the losses that it returns."""

import runpy
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from deixis.batch import Batch, Output
from deixis.objectives.supervised import Supervised
from deixis.training.engine import AGREE_EVERY, Engine, Precision
from deixis.training.muon import Muon
from deixis.training.optim import Optimiser

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny.py"))))


def engine(
    precision: Precision = "fp32", *, optimiser: Optimiser | None = None, seed: int = 0, parts: int = 1
) -> Engine:
    return Engine(
        tiny.objective("supervised", 0.3), optimiser or Optimiser(), precision, seed, compiled=False, parts=parts
    )


def batches(count: int = 1) -> list[Batch]:
    return list(tiny.batches().stream(0, 1, parts=count))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_forward_has_the_chosen_precision_and_the_loss_is_always_in_full(precision: Precision) -> None:
    forward, seen = [], []

    class Watched(tiny.Dot):
        loss_features = ("visual", "query")

        def forward(self, batch: Batch, **options: Any) -> Output:
            output = super().forward(batch, **options)
            dtypes = output.logits.dtype, output.features["visual"].dtype
            forward.append((torch.is_autocast_enabled("cpu"), *dtypes))
            return output

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            dtypes = {name: value.dtype for name, value in output.features.items()}
            seen.append((torch.is_autocast_enabled("cpu"), output.logits.dtype, dtypes))
            return super().loss(batch, output)

    watched = Engine(Supervised(Watched()), Optimiser(), precision, seed=0, compiled=False, parts=1)
    watched.step(batches(), 0, 1.0)
    inside = torch.bfloat16 if precision == "bf16" else torch.float32
    assert forward == [(precision == "bf16", inside, inside)]
    assert seen == [(False, torch.float32, {"visual": torch.float32, "query": torch.float32})]


def test_a_step_is_seeded_by_the_runs_seed_the_step_and_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[tuple[int, int, int]] = []
    of_seed_seven = engine(seed=7)
    monkeypatch.setattr("deixis.training.engine.seed_step", lambda *seed: seeds.append(seed))
    monkeypatch.setattr(Accelerator, "process_index", 3)
    of_seed_seven.step(batches(), 4, 1.0)
    assert seeds == [(7, 4, 3)]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_muon_works_in_the_runs_precision(precision: Precision, dtype: torch.dtype) -> None:
    muon = engine(precision, optimiser=Optimiser(muon_lr=0.02)).plain_optimiser
    assert isinstance(muon, Muon)
    assert muon.dtype is dtype


def test_the_losses_of_accumulated_parts_are_their_mean() -> None:
    parted = engine(parts=3)
    parts = batches(3)
    parted.objective.eval()  # without dropout
    with torch.no_grad():
        expected = torch.stack([parted.objective.terms(part, 0)["mask"] for part in parts]).mean()
    torch.testing.assert_close(parted.step(parts, 0, 1.0), {"mask": expected})


def test_what_follows_a_step_sees_the_updated_weights_and_terms_see_the_step() -> None:
    seen: list[tuple[str, int, float]] = []

    class Watched(Supervised):
        def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
            seen.append(("terms", step, self.system.pixels.bias[0].item()))
            return super().terms(batch, step)

        def after_step(self, step: int) -> None:
            seen.append(("after", step, self.system.pixels.bias[0].item()))

    watched = Engine(Watched(tiny.Dot()), Optimiser(lr=0.1), "fp32", seed=0, compiled=False, parts=1)
    for step in (3, 4):
        watched.step(batches(), step, 1.0)
    assert [(name, step) for name, step, _ in seen] == [("terms", 3), ("after", 3), ("terms", 4), ("after", 4)]
    assert seen[0][2] != seen[1][2] == seen[2][2] != seen[3][2]


def test_inside_the_average_the_objective_scores_it_and_afterwards_its_own_system() -> None:
    averaged = engine(optimiser=Optimiser(lr=0.1, average=0.9))
    own = averaged.objective.system
    averaged.step(batches(), 0, 1.0)
    with averaged.averaged():
        assert averaged.objective.system is averaged.published is not own
    assert averaged.objective.system is own
    assert not torch.equal(averaged.published.pixels.weight, own.pixels.weight)  # type: ignore[arg-type, union-attr]
    plain = engine()
    assert plain.published is plain.objective.system


def test_buffers_of_another_shape_are_resized_when_a_state_is_loaded() -> None:
    def with_centres(count: int) -> Engine:
        objective = tiny.objective("supervised")
        objective.register_buffer("centres", torch.arange(float(count)))
        return Engine(objective, Optimiser(), "fp32", seed=0, compiled=False, parts=1)

    fresh = with_centres(0)
    fresh.resume(with_centres(5).state(1, None, "mIoU"))
    assert fresh.objective.centres.tolist() == [0, 1, 2, 3, 4]


def test_before_scoring_each_process_gets_the_main_ones_batch_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.training.engine.broadcast", shared := Mock())
    objective, average = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    alone = SimpleNamespace(num_processes=1)
    shared_by = SimpleNamespace(accelerator=alone, objective=objective, published=average)
    Engine.share_buffers(shared_by)  # type: ignore[arg-type]
    shared.assert_not_called()
    alone.num_processes = 2
    Engine.share_buffers(shared_by)  # type: ignore[arg-type]
    buffers = [*objective.buffers(), *average.buffers()]
    assert list(map(id, buffers)) == [id(call.args[0]) for call in shared.call_args_list]


def test_processes_agree_to_stop_at_each_step_of_a_cpu_and_at_some_of_a_gpu() -> None:
    stop = threading.Event()
    stop.set()
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=lambda is_set, how: 2 * is_set)
    asked = SimpleNamespace(accelerator=accelerator)
    assert all(Engine.agree(asked, stop, step) for step in (1, 2, 3))  # type: ignore[arg-type]
    assert not Engine.agree(asked, threading.Event(), 1)  # type: ignore[arg-type]
    accelerator.device, accelerator.reduce = torch.device("meta"), lambda is_set, how: torch.tensor(2.0)  # like a GPU
    steps = range(1, AGREE_EVERY + 1)
    agreed = [Engine.agree(asked, stop, step) for step in steps]  # type: ignore[arg-type]
    assert agreed == [False] * (AGREE_EVERY - 1) + [True]
