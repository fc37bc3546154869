"""What is kept of a run: the best weights, which are the averaged ones, and the speed of training alone."""

import json
import os
import runpy
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from deixis.training.progress import Display
from safetensors.torch import load_file
from torch import Tensor

from deixis.batch import Batch, Output
from deixis.training import checkpointer, engine
from deixis.training.checkpointer import Diary
from deixis.training.engine import Engine
from deixis.training.logging import Journal
from deixis.training.optim import Optimiser
from deixis.training.state import STATE, State
from deixis.training.validation import Scores

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny.py"))))


def test_the_best_stays_the_best_in_a_resumed_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coming = iter((0.5, 0.9, 0.7))

    def validate(*_: object) -> Scores:
        scores = Scores(miou=next(coming), oiou=0.0, p50=0.0)
        if scores.miou == 0.9:
            os.kill(os.getpid(), signal.SIGTERM)
        return scores

    def kept() -> tuple[float, dict[str, Tensor]]:
        scores = json.loads((tmp_path / "best/scores.json").read_text())
        return scores["miou"], load_file(tmp_path / "best/model.safetensors")

    monkeypatch.setattr(checkpointer, "validate", validate)
    _, stopped = tiny.run(tmp_path, steps=18)
    assert (stopped.step, stopped.best) == (13, 0.9)
    score, weights = kept()
    assert score == 0.9
    _, resumed = tiny.run(tmp_path, steps=18)
    assert (resumed.finished, resumed.scores.miou, resumed.best) == (True, 0.7, 0.9)
    score_after, weights_after = kept()
    assert score_after == 0.9
    assert all(torch.equal(weights_after[name], tensor) for name, tensor in weights.items())


def test_what_is_scored_and_kept_as_the_best_is_the_average(tmp_path: Path) -> None:
    scored: list[Tensor] = []

    class Watched(tiny.Dot):
        def forward(self, batch: Batch) -> Output:
            if not self.training:
                scored.append(self.words.weight.detach().clone())
            return super().forward(batch)

    tiny.run(tmp_path, steps=6, average=0.9, system=Watched())
    state = State.load(tmp_path / STATE)
    best = load_file(tmp_path / "best/model.safetensors")
    assert state.average is not None
    assert all(torch.equal(best[name], tensor) for name, tensor in state.average.items())
    assert not torch.equal(best["words.weight"], state.weights["words.weight"])
    assert scored
    assert all(torch.equal(weights, best["words.weight"]) for weights in scored)


def test_the_speed_is_that_of_training_since_it_was_last_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(checkpointer, "time", SimpleNamespace(monotonic=lambda: now))
    engine = Engine(tiny.Dot(), Optimiser(), "fp32", seed=0, compiled=False, parts=1)
    journal = Mock(spec=Journal)
    diary = Diary(engine, journal, Mock(spec=Display))

    def speed(seconds: float) -> float:
        """Of four steps of twelve expressions."""
        nonlocal now
        now += seconds
        engine.losses += [(step, {"mask": torch.tensor(1.0)}) for step in range(4)]
        diary.losses(4, 1.0, batch_size=12)
        numbers: dict[str, float] = journal.write.call_args.args[1]
        return numbers["expressions_per_second"]

    assert speed(2.0) == pytest.approx(24.0)
    assert speed(4.0) == pytest.approx(12.0)
    now += 100.0
    diary.scores(8, Scores(miou=0.0, oiou=0.0, p50=0.0))
    assert speed(1.0) == pytest.approx(48.0)


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


def test_batch_norms_are_the_main_processs_before_they_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "broadcast", shared := Mock())
    system, alone = torch.nn.BatchNorm2d(2), SimpleNamespace(num_processes=1)
    Engine.share_buffers(SimpleNamespace(accelerator=alone, system=system))  # type: ignore[arg-type]
    shared.assert_not_called()
    alone.num_processes = 2
    Engine.share_buffers(SimpleNamespace(accelerator=alone, system=system))  # type: ignore[arg-type]
    assert list(map(id, system.buffers())) == [id(call.args[0]) for call in shared.call_args_list]


def test_processes_ask_each_other_at_every_step_of_a_processor_and_some_of_a_gpu() -> None:
    stop = threading.Event()
    stop.set()
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=lambda wish, how: 2 * wish)
    asked = SimpleNamespace(accelerator=accelerator)
    assert all(Engine.agree(asked, stop, step) for step in (1, 2, 3))  # type: ignore[arg-type]
    assert not Engine.agree(asked, threading.Event(), 1)  # type: ignore[arg-type]
    accelerator.device, accelerator.reduce = torch.device("meta"), lambda wish, how: torch.tensor(2.0)  # no CPU either
    steps = range(1, engine.AGREE_EVERY + 1)
    agreed = [Engine.agree(asked, stop, step) for step in steps]  # type: ignore[arg-type]
    assert agreed == [False] * (engine.AGREE_EVERY - 1) + [True]
