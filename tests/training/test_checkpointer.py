"""What is stored of a run: the best weights by a score, and the last with the state to resume from."""

import json
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.training import loop
from deixis.training.checkpointer import Checkpointer
from deixis.training.engine import Engine
from deixis.training.optim import Optimiser
from deixis.training.state import STATE, State

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny.py"))))


def test_the_best_stays_the_best_in_a_resumed_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coming = iter((0.5, 0.9, 0.7))

    def validate(*_: object, **options: object) -> dict[str, float]:
        scores = {"mIoU": next(coming)}
        if scores["mIoU"] == 0.9:
            os.kill(os.getpid(), signal.SIGTERM)
        return scores

    def stored() -> tuple[float, dict[str, Tensor]]:
        scores = json.loads((tmp_path / "best/scores.json").read_text())
        return scores["mIoU"], load_file(tmp_path / "best/model.safetensors")

    monkeypatch.setattr(loop, "validate", validate)
    _, stopped = tiny.run(tmp_path, steps=18)
    assert (stopped.step, stopped.best) == (13, 0.9)
    score, weights = stored()
    assert score == 0.9
    _, resumed = tiny.run(tmp_path, steps=18)
    assert (resumed.finished, resumed.scores["mIoU"], resumed.best) == (True, 0.7, 0.9)
    score_after, weights_after = stored()
    assert score_after == 0.9
    assert all(torch.equal(weights_after[name], tensor) for name, tensor in weights.items())


def test_what_is_scored_and_published_as_the_best_is_the_average(tmp_path: Path) -> None:
    scored: list[Tensor] = []

    class Watched(tiny.Dot):
        def forward(self, batch: Batch, **options: Any) -> Output:
            if not self.training:
                scored.append(self.words.weight.detach().clone())
            return super().forward(batch, **options)

    tiny.run(tmp_path, steps=6, average=0.9, system=Watched())
    state = State.load(tmp_path / STATE)
    best = load_file(tmp_path / "best/model.safetensors")
    assert state.average is not None
    assert all(torch.equal(best[name], tensor) for name, tensor in state.average.items())
    assert not torch.equal(best["words.weight"], state.objective["system.words.weight"])
    assert scored
    assert all(torch.equal(weights, best["words.weight"]) for weights in scored)


def test_what_is_published_is_never_older_than_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, steps = State.save, []

    def watched(state: State, path: Path) -> None:
        published = load_file(path.parent / "model.safetensors")
        assert all(torch.equal(published[name], tensor) for name, tensor in (state.average or {}).items())
        steps.append(state.step)
        save(state, path)

    monkeypatch.setattr(State, "save", watched)
    tiny.run(tmp_path)
    assert steps == [4, 8, 12]


@pytest.mark.parametrize(("name", "values", "best"), [("mIoU", (0.5, 0.7, 0.6), 0.7), ("loss", (0.5, 0.7, 0.4), 0.4)])
def test_the_largest_score_is_the_best_and_the_smallest_loss(
    tmp_path: Path, name: str, values: tuple[float, ...], best: float
) -> None:
    published: list[dict[str, float]] = []
    engine = Engine(tiny.objective("supervised"), Optimiser(), "fp32", seed=0, compiled=False, parts=1)
    checkpointer = Checkpointer(engine, tmp_path, lambda folder, weights, scores: published.append(scores), name)
    for value in values:
        checkpointer.keep_best({name: value, "oIoU": 0.1})
    assert checkpointer.best == best
    assert published[-1] == {name: best, "oIoU": 0.1}
    assert len(published) == 2


def test_a_score_that_validation_lacks_is_refused(tmp_path: Path) -> None:
    engine = Engine(tiny.objective("supervised"), Optimiser(), "fp32", seed=0, compiled=False, parts=1)
    checkpointer = Checkpointer(engine, tmp_path, tiny.Publisher(), "accuracy/kinds")
    with pytest.raises(InputError, match=r"no score 'accuracy/kinds' .* Did you mean 'accuracy/kind'"):
        checkpointer.keep_best({"accuracy/kind": 0.5, "loss": 1.0})
