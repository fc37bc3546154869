"""The loop's promises, on a system of forty weights: resuming, sharing, accumulating, stopping."""

import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import DeixisError
from deixis.training.checkpointer import over_processes
from deixis.training.engine import meeting
from deixis.training.optim import Average
from deixis.training.state import State

SCRIPT = Path(__file__).with_name("tiny.py")
tiny = SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def equal(first: nn.Module, second: nn.Module) -> bool:
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def furthest(first: nn.Module, second: nn.Module) -> float:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


def test_a_system_learns_its_squares_and_leaves_its_folder(tmp_path: Path) -> None:
    system, result = tiny.run(tmp_path, steps=60)
    assert result.finished
    assert result.step == 60
    assert result.scores.miou > 0.9
    assert result.best == max(result.best, result.scores.miou)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"journal.csv", "last/state.pt", "last/model.safetensors", "best/model.safetensors"} <= names
    assert "samples/step_0000060.png" in names
    assert any(name.startswith("tensorboard/events") for name in names)
    assert not [name for name in names if "writing" in name]
    assert system.training


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, _ = tiny.run(tmp_path / "whole", dropout=0.3)

    class Stopping(tiny.Dot):
        """Asks for SIGTERM in the fifth step; the step is finished all the same."""

        forwards = 0

        def forward(self, batch: Batch) -> Output:
            self.forwards += self.training
            if self.forwards == 5 and self.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch)

    torch.manual_seed(0)
    _, stopped = tiny.run(tmp_path / "parts", system=Stopping(0.3))
    assert not stopped.finished
    assert stopped.step == 5
    torch.manual_seed(7)  # what else has drawn random numbers changes nothing
    resumed, result = tiny.run(tmp_path / "parts", dropout=0.3)
    assert result.finished
    assert equal(whole, resumed)
    ours = [load_file(tmp_path / name / "last/model.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(ours[0][name], ours[1][name]) for name in ours[0])


def test_runs_of_other_seeds_draw_other_dropout(tmp_path: Path) -> None:
    first, again, other = (
        tiny.run(tmp_path / name, dropout=0.3, seed=seed)[0] for name, seed in (("one", 1), ("again", 1), ("two", 2))
    )
    assert equal(first, again)
    assert not equal(first, other)


def test_a_run_killed_twice_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Once in the middle of a step, once in the middle of writing its state."""
    whole, _ = tiny.run(tmp_path / "whole", steps=24, dropout=0.3)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), "--steps", "24", "--dropout", "0.3"]
    for way in (["--die-at-forward", "15"], ["--die-at-rename", "2"]):
        killed = subprocess.run([*command, *way], capture_output=True, timeout=300, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert 4 <= State.load(tmp_path / "killed/last/state.pt").step < 24
    resumed, result = tiny.run(tmp_path / "killed", steps=24, dropout=0.3)
    assert result.finished
    assert equal(whole, resumed)
    assert list(tiny.steps_seen(tmp_path / "killed")) == list(tiny.steps_seen(tmp_path / "whole"))


def test_a_killed_run_with_mask_grounding_resumes_to_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole, _ = tiny.run(tmp_path / "whole", system=tiny.grounded(0.3))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), "--grounded", "--dropout", "0.3"]
    killed = subprocess.run([*command, "--die-at-forward", "9"], capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept = State.load(tmp_path / "killed/last/state.pt")
    assert 4 <= kept.step < 12
    assert any(name.startswith("predictor.") for name in kept.weights)
    torch.manual_seed(7)  # other first weights, which the state replaces
    resumed, result = tiny.run(tmp_path / "killed", system=tiny.grounded(0.3))
    assert result.finished
    assert equal(whole, resumed)


def test_two_processes_give_one_process_numbers(tmp_path: Path) -> None:
    alone, _ = tiny.run(tmp_path / "alone")
    in_two_processes(tmp_path / "two")
    together = tiny.Dot()
    together.load_state_dict(State.load(tmp_path / "two/last/state.pt").weights)
    assert furthest(alone, together) < 1e-6
    assert not equal(tiny.Dot(), together)
    rows = [(tmp_path / name / "journal.csv").read_text().splitlines() for name in ("alone", "two")]
    for one, other in zip(*rows, strict=True):
        assert one.split(",")[6:] == other.split(",")[6:]  # the scores; losses before them differ in the last digit


def test_two_processes_train_with_mask_grounding(tmp_path: Path) -> None:
    in_two_processes(tmp_path, "--grounded")  # each takes out words of its own share
    torch.manual_seed(0)
    before, after = tiny.grounded().state_dict(), State.load(tmp_path / "last/state.pt").weights
    assert before.keys() == after.keys()
    still = [name for name, weight in after.items() if torch.equal(weight, before[name])]
    assert still == ["system.unused.weight", "system.unused.bias"]
    header = (tmp_path / "journal.csv").read_text().splitlines()[0].split(",")
    assert "loss/grounding" in header


def in_two_processes(out: Path, *options: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out), *options],
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in ("0", "1")
    ]
    for process in processes:
        _, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint.decode()


def test_accumulated_parts_equal_one_big_batch(tmp_path: Path) -> None:
    whole, _ = tiny.run(tmp_path / "whole")
    parts, _ = tiny.run(tmp_path / "parts", accumulate=3)
    assert furthest(whole, parts) < 1e-6


def test_gradients_are_clipped_and_the_average_is_what_is_published(tmp_path: Path) -> None:
    free, _ = tiny.run(tmp_path / "free", clip=None)
    bound, _ = tiny.run(tmp_path / "bound", clip=1e-6)
    start = tiny.run(tmp_path / "start", steps=1, lr=1e-12)[0]
    assert furthest(free, start) > 0.01
    assert furthest(bound, free) > 0.001
    state = State.load(tmp_path / "free/last/state.pt")
    published = load_file(tmp_path / "free/last/model.safetensors")
    assert state.average is not None
    assert torch.equal(published["words.weight"], state.average["words.weight"])
    assert not torch.equal(published["words.weight"], state.weights["words.weight"])


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path: Path) -> None:
    class Breaking(tiny.Dot):
        losses = 0

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            self.losses += 1
            terms = super().loss(batch, output)
            return {"mask": terms["mask"] * (float("nan") if self.losses == 7 else 1.0)}

    with pytest.raises(DeixisError, match=r"loss 'mask' became nan in step 7"):
        tiny.run(tmp_path, system=Breaking())
    kept = State.load(tmp_path / "last/state.pt")
    assert kept.step == 4
    assert all(torch.isfinite(weight).all() for weight in kept.weights.values())


def test_an_update_that_is_no_number_leaves_the_last_state_to_go_on_from(tmp_path: Path) -> None:
    class Breaking(tiny.Dot):
        losses = 0

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            self.losses += self.training
            terms = super().loss(batch, output)
            nothing = (self.pixels.bias.sum() * 0).sqrt()  # zero, of infinite slope
            return {"mask": terms["mask"] + nothing if self.losses == 8 and self.training else terms["mask"]}

    torch.manual_seed(0)
    with pytest.raises(DeixisError, match=r"The weight '.*' is no finite number after step 8"):
        tiny.run(tmp_path / "broken", system=Breaking())
    kept = State.load(tmp_path / "broken/last/state.pt")
    assert kept.step == 4
    assert all(torch.isfinite(weight).all() for weight in kept.weights.values())
    resumed, result = tiny.run(tmp_path / "broken")
    assert result.finished
    assert equal(resumed, tiny.run(tmp_path / "whole")[0])


def test_an_average_that_is_no_number_is_not_kept_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Average, "state", lambda average: {"words.weight": torch.tensor([float("inf")])})
    with pytest.raises(DeixisError, match=r"The average 'words.weight' is no finite number after step 4"):
        tiny.run(tmp_path)
    assert not (tmp_path / "last").exists()


def test_numbers_meet_on_the_device_where_many_processes_have_some() -> None:
    numbers = torch.tensor([1 / 3], dtype=torch.float64)  # an Apple GPU, which has no company, could not hold it
    alone = Mock(spec=Accelerator, num_processes=1, device=torch.device("mps"))
    assert torch.equal(over_processes(alone, numbers, "sum"), numbers)
    many = Mock(spec=Accelerator, num_processes=2, device=torch.device("meta"))
    many.reduce = lambda numbers, how: numbers
    reduced = over_processes(many, numbers, "mean")
    assert (reduced.device.type, reduced.dtype) == ("meta", torch.float64)


def test_the_journal_has_losses_rates_and_scores(tmp_path: Path) -> None:
    tiny.run(tmp_path)
    header, *rows = (tmp_path / "journal.csv").read_text().splitlines()
    assert header.split(",") == [
        *("step", "loss", "loss/mask", "epoch", "rate", "expressions_per_second"),
        *("val/miou", "val/oiou", "val/p50"),
    ]
    assert [int(row.split(",")[0]) for row in rows] == [4, 6, 8, 12, 12]
    first = dict(zip(header.split(","), rows[0].split(","), strict=True))
    assert float(first["loss"]) > 0
    assert float(first["epoch"]) == pytest.approx(2.0)  # 24 objects, 12 to a batch
    assert float(first["rate"]) == pytest.approx(0.05 * (1 - 1 / 10) ** 0.9, rel=1e-4)  # step 4, after 2 of warm-up


def test_a_precision_that_the_machine_lacks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("fp16 mixed precision requires a GPU")

    monkeypatch.setattr("deixis.training.engine.Accelerator", refuse)
    with pytest.raises(DeixisError, match="cannot train in fp32"):
        tiny.run(tmp_path)


def test_batch_norms_meet_on_gpus() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    weight = plain[1].weight
    for processes, device in ((1, "cuda"), (2, "cpu")):
        assert type(meeting(plain, processes, torch.device(device))[1]) is nn.BatchNorm2d
    met = meeting(plain, 2, torch.device("cuda"))
    assert type(met[1]) is nn.SyncBatchNorm
    assert met[1].weight is weight
