"""The loop on a system of forty weights: resuming, several processes, accumulating, stopping."""

import csv
import json
import os
import random
import signal
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import InputError, ModelError
from deixis.layers.moving_average import MovingAverage
from deixis.objectives.supervised import Supervised
from deixis.records import Sample
from deixis.training.engine import sync_batch_norms
from deixis.training.state import STATE, State
from tests.processes import start
from tests.training import tiny


def equal(first: nn.Module, second: nn.Module) -> bool:
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def furthest(first: nn.Module, second: nn.Module) -> float:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


def test_a_system_learns_its_squares_and_leaves_its_folder(tmp_path: Path) -> None:
    system, result = tiny.run(tmp_path, steps=60)
    assert result.finished
    assert result.step == 60
    assert result.scores["mIoU"] > 0.9
    assert result.best_by == "mIoU"
    assert result.best == max(result.best, result.scores["mIoU"])
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"metrics.csv", "last/state.safetensors", "last/model.safetensors", "best/model.safetensors"} <= names
    assert "samples/step_0000060.png" in names
    assert any(name.startswith("tensorboard/events") for name in names)
    assert not [name for name in names if "writing" in name]
    assert system.training


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, _ = tiny.run(tmp_path / "whole", dropout=0.3)

    class Stopping(tiny.Dot):
        """Sends itself SIGTERM in the fifth step, which is finished nevertheless."""

        forwards = 0

        def forward(self, batch: Batch, **options: Any) -> Output:
            self.forwards += self.training
            if self.forwards == 5 and self.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch, **options)

    torch.manual_seed(0)
    _, stopped = tiny.run(tmp_path / "parts", system=Stopping(0.3))
    assert not stopped.finished
    assert stopped.step == 5
    torch.manual_seed(7)  # random numbers drawn by others change nothing
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
    arguments = [str(tmp_path / "killed"), "--steps", "24", "--dropout", "0.3"]
    for way in (["--die-at-forward", "15"], ["--die-at-rename", "2"]):
        killed(*arguments, *way)
    assert 4 <= State.load(tmp_path / "killed" / STATE).step < 24
    resumed, result = tiny.run(tmp_path / "killed", steps=24, dropout=0.3)
    assert result.finished
    assert equal(whole, resumed)
    assert list(tiny.steps_seen(tmp_path / "killed")) == list(tiny.steps_seen(tmp_path / "whole"))


def test_a_killed_run_with_mask_grounding_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, _ = tiny.run(tmp_path / "whole", trained=tiny.objective("grounded", 0.3))
    killed(str(tmp_path / "killed"), "--objective", "grounded", "--dropout", "0.3", "--die-at-forward", "9")
    stored = State.load(tmp_path / "killed" / STATE)
    assert 4 <= stored.step < 12
    assert any(name.startswith("predictor.") for name in stored.objective)
    resumed, result = tiny.run(tmp_path / "killed", trained=tiny.objective("grounded", 0.3))
    assert result.finished
    assert equal(whole, resumed)


def killed(*arguments: str) -> None:
    """A run that kills its process."""
    code, complaint = start(tiny.main, list(arguments)).wait()
    assert code == -signal.SIGKILL, complaint


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote for each of several objectives, one after the other; the last one is refused."""
    out = tmp_path_factory.mktemp("two")
    complaint = in_two_processes(
        out / "supervised",
        *("+", str(out / "grounded"), "--objective", "grounded"),
        *("+", str(out / "mmd"), "--objective", "mmd"),
        *("+", str(out / "contrastive"), "--objective", "contrastive", "--steps", "1", "--no-clip"),
        *("+", str(out / "idle"), "--objective", "idle"),
    )
    (out / "complaint.txt").write_text(complaint)
    return out


def test_two_processes_give_one_process_numbers(tmp_path: Path, two: Path) -> None:
    alone, _ = tiny.run(tmp_path / "alone")
    together = tiny.Dot()
    together.load_state_dict(weights_of(State.load(two / "supervised" / STATE)))
    assert furthest(alone, together) < 1e-6
    assert not equal(tiny.Dot(), together)
    folders = tmp_path / "alone", two / "supervised"
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in folders]
    for one, other in zip(*rows, strict=True):
        assert one.split(",")[6:9] == other.split(",")[6:9]  # the scores of masks; losses differ in the last digit


def test_two_processes_train_with_mask_grounding(two: Path) -> None:
    """Each replaces words of its own share."""
    before, after = tiny.objective("grounded").state_dict(), State.load(two / "grounded" / STATE).objective
    assert before.keys() == after.keys()
    assert not [name for name, weight in after.items() if torch.equal(weight, before[name])]
    header = (two / "grounded/metrics.csv").read_text().splitlines()[0].split(",")
    assert "loss/grounding" in header


def test_two_processes_compare_the_domains_of_both(tmp_path: Path, two: Path) -> None:
    tiny.run(tmp_path, trained=tiny.objective("mmd"), data=tiny.pairs())
    together = State.load(two / "mmd" / STATE).objective
    for name, weight in State.load(tmp_path / STATE).objective.items():
        torch.testing.assert_close(together[name], weight, atol=1e-6, rtol=0)


def in_two_processes(out: Path, *options: str) -> str:
    """What the first process prints on stderr before it fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    worlds = [{**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    processes = [start(tiny.main_of_several, [str(out), *options], environment=world) for world in worlds]
    ended = [process.wait() for process in processes]
    assert all(code for code, _ in ended), ended
    return ended[0][1]


def weights_of(state: State) -> dict[str, Tensor]:
    return {name.removeprefix("system."): tensor for name, tensor in state.objective.items()}


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
    state = State.load(tmp_path / "free" / STATE)
    published = load_file(tmp_path / "free/last/model.safetensors")
    assert state.average is not None
    assert torch.equal(published["words.weight"], state.average["words.weight"])
    assert not torch.equal(published["words.weight"], state.objective["system.words.weight"])


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path: Path) -> None:
    class Breaking(tiny.Dot):
        losses = 0

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            self.losses += 1
            terms = super().loss(batch, output)
            return {"mask": terms["mask"] * (float("nan") if self.losses == 7 else 1.0)}

    with pytest.raises(ModelError, match=r"loss 'mask' became nan in step 7"):
        tiny.run(tmp_path, system=Breaking())
    stored = State.load(tmp_path / STATE)
    assert stored.step == 4
    assert all(torch.isfinite(weight).all() for weight in stored.objective.values())


def test_after_an_update_that_is_not_finite_the_last_state_can_be_resumed(tmp_path: Path) -> None:
    class Breaking(tiny.Dot):
        losses = 0

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            self.losses += self.training
            terms = super().loss(batch, output)
            zero = (self.pixels.bias.sum() * 0).sqrt()  # of infinite slope
            return {"mask": terms["mask"] + zero if self.losses == 8 and self.training else terms["mask"]}

    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"The weight '.*' is not finite after step 8"):
        tiny.run(tmp_path / "broken", system=Breaking())
    stored = State.load(tmp_path / "broken" / STATE)
    assert stored.step == 4
    assert all(torch.isfinite(weight).all() for weight in stored.objective.values())
    resumed, result = tiny.run(tmp_path / "broken")
    assert result.finished
    assert equal(resumed, tiny.run(tmp_path / "whole")[0])


def test_an_average_that_is_not_finite_is_not_stored_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(average: MovingAverage, network: nn.Module, decay: float) -> None:
        average.network.words.weight.fill_(float("inf"))  # type: ignore[union-attr, operator]

    monkeypatch.setattr(MovingAverage, "update", overflow)
    with pytest.raises(ModelError, match=r"The average 'words.weight' is not finite after step 4"):
        tiny.run(tmp_path)
    assert not (tmp_path / "last").exists()


def test_the_table_has_losses_rates_and_scores(tmp_path: Path) -> None:
    tiny.run(tmp_path)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header.split(",") == [
        *("step", "loss", "loss/mask", "epoch", "rate", "expressions_per_second"),
        *("val/mIoU", "val/oIoU", "val/P@0.5", "val/loss"),
    ]
    assert [int(row.split(",")[0]) for row in rows] == [4, 6, 8, 12, 12]
    first = dict(zip(header.split(","), rows[0].split(","), strict=True))
    assert float(first["loss"]) > 0
    assert float(first["epoch"]) == pytest.approx(2.0)  # 24 objects, 12 in a batch
    assert float(first["rate"]) == pytest.approx(0.05 * (1 - 1 / 10) ** 0.9, rel=1e-4)  # step 4, after 2 of warm-up


def test_a_precision_that_the_machine_lacks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("fp16 mixed precision requires a GPU")

    monkeypatch.setattr("deixis.training.engine.Accelerator", refuse)
    with pytest.raises(ModelError, match="cannot train in fp32"):
        tiny.run(tmp_path)


def test_batch_norms_are_synchronised_on_gpus() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    weight = plain[1].weight
    for processes, device in ((1, "cuda"), (2, "cpu")):
        assert type(sync_batch_norms(plain, processes, torch.device(device))[1]) is nn.BatchNorm2d
    synchronised = sync_batch_norms(plain, 2, torch.device("cuda"))
    assert type(synchronised[1]) is nn.SyncBatchNorm
    assert synchronised[1].weight is weight


def test_an_objective_of_the_whole_batch_refuses_accumulation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Contrastive compares all samples .* accumulated in 3 parts; set schedule"):
        tiny.run(tmp_path, trained=tiny.objective("contrastive"), accumulate=3)
    assert not list(tmp_path.iterdir())


def test_a_score_that_validation_cannot_have_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no score 'mIou'\. Did you mean 'mIoU'"):
        tiny.run(tmp_path, choose_best="mIou")
    assert not list(tmp_path.iterdir())


def test_a_teacher_stays_in_eval_mode_while_its_objective_trains(tmp_path: Path) -> None:
    trained = tiny.objective("adapting", 0.5)
    tiny.run(tmp_path, trained=trained, data=tiny.pairs(), steps=2)
    assert trained.training
    assert trained.system.dropout.training
    assert not any(module.training for module in trained.teacher.modules())
    assert not any(parameter.requires_grad for parameter in trained.teacher.parameters())


def test_preparation_is_computed_once_and_restored_from_the_state(tmp_path: Path) -> None:
    first = tiny.objective("adapting")
    tiny.run(tmp_path, trained=first, data=tiny.pairs(), steps=4)
    assert first.prepared == 1
    assert first.centres.shape == (5, 8)  # one row per batch of all 30 sentences of the target
    resumed = tiny.objective("adapting")
    tiny.run(tmp_path, trained=resumed, data=tiny.pairs(), steps=8)
    assert resumed.prepared == 0
    assert torch.equal(resumed.centres, first.centres)


def test_what_is_published_of_an_objective_is_its_system_alone(tmp_path: Path) -> None:
    tiny.run(tmp_path, trained=tiny.objective("adapting"), data=tiny.pairs())
    for folder in ("best", "last"):
        assert load_file(tmp_path / folder / "model.safetensors").keys() == tiny.Dot().state_dict().keys()
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"loss/mask", "loss/taught", "loss/memory", "val/mIoU"} <= set(header)
    assert "val/loss" not in header  # the loss of Pairs cannot be computed from a Batch


@pytest.mark.slow
def test_an_adaptation_killed_at_three_random_steps_resumes_to_the_same_bits(tmp_path: Path) -> None:
    killed_adaptation(tmp_path, seeds=range(3))


@pytest.mark.slow
def test_an_adaptation_killed_at_twenty_random_steps_resumes_to_the_same_bits(tmp_path: Path) -> None:
    killed_adaptation(tmp_path, seeds=range(3, 23))


def killed_adaptation(tmp_path: Path, seeds: Iterable[int], steps: int = 16) -> None:
    """A teacher, a memory and centres over Pairs; each seed draws the step of a kill and the steps between states."""
    options = {"steps": steps, "dropout": 0.3}
    uninterrupted = tiny.objective("adapting", 0.3)
    tiny.run(tmp_path / "whole", trained=uninterrupted, data=tiny.pairs(), **options)
    assert int(uninterrupted.place) == steps * 6 % 10  # the memory was overwritten several times
    for seed in seeds:
        draw = random.Random(seed)
        out, save_every, kill = tmp_path / f"killed{seed}", draw.randint(1, 5), draw.randint(1, steps - 1)
        arguments = ["--steps", str(steps), "--save-every", str(save_every), "--die-at-step", str(kill)]
        killed(str(out), "--objective", "adapting", "--dropout", "0.3", *arguments)
        assert (out / STATE).exists() == (kill > save_every)
        resumed = tiny.objective("adapting", 0.3)
        _, result = tiny.run(out, trained=resumed, data=tiny.pairs(), save_every=save_every, **options)
        assert result.finished
        assert equal(uninterrupted, resumed), f"seed {seed}, killed in step {kill}"


def test_two_processes_give_the_contrastive_gradients_of_one(tmp_path: Path, two: Path) -> None:
    options = {"steps": 1, "clip": None}
    tiny.run(tmp_path, trained=tiny.objective("contrastive"), data=tiny.data_of("contrastive"), **options)
    alone, together = (gradients(State.load(folder / STATE)) for folder in (tmp_path, two / "contrastive"))
    assert len(alone) == len(list(tiny.objective("contrastive").parameters()))
    for one, other in zip(alone, together, strict=True):
        assert one.abs().max() > 1e-3
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_weight_without_gradient_is_refused_by_name_in_several_processes_and_trains_in_one(
    tmp_path: Path, two: Path
) -> None:
    system, result = tiny.run(tmp_path, trained=tiny.objective("idle"))
    assert result.finished
    assert torch.equal(system.unused.weight, tiny.objective("idle").system.unused.weight)
    complaint = (two / "complaint.txt").read_text()
    assert "does not depend on unused.weight, unused.bias; with several processes" in complaint
    assert not (two / "idle/last").exists()


def test_training_without_masks_is_validated_by_its_loss_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = tiny.held(reader=tiny.Squares(3, labelled=False))
    _, result = tiny.run(
        tmp_path,
        trained=tiny.objective("contrastive"),
        data=tiny.data_of("contrastive"),
        validation=unlabelled,
        steps=24,
        quiet=False,
    )
    assert set(result.scores) == {"loss"}
    assert result.best_by == "loss"
    losses = [float(row["val/loss"]) for row in table(tmp_path) if row["val/loss"]]
    assert result.best == pytest.approx(min(losses), rel=1e-5)
    assert losses[0] > min(losses)
    assert not (tmp_path / "samples").exists()
    said = capsys.readouterr().err
    assert said.count("has no masks, so there is no mIoU: the smallest mean loss chooses the best weights.") == 1
    published = json.loads((tmp_path / "best/scores.json").read_text())
    assert published["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_the_best_by_loss_is_the_smallest_where_masks_exist_too(tmp_path: Path) -> None:
    _, result = tiny.run(tmp_path, choose_best="loss", steps=24)
    losses = [float(row["val/loss"]) for row in table(tmp_path) if row["val/loss"]]
    assert result.best == pytest.approx(min(losses), rel=1e-5)
    assert {"mIoU", "loss"} <= set(result.scores)


@pytest.mark.parametrize("takes", [False, True])
def test_a_batch_with_and_without_masks_is_refused_unless_the_objective_takes_it(tmp_path: Path, takes: bool) -> None:
    class Mixed(tiny.Squares):
        def __getitem__(self, position: int) -> Sample:
            sample = super().__getitem__(position)
            return replace(sample, mask=None) if position % 12 > 5 else sample

    class Partial(Supervised):
        takes_unlabelled = takes
        seen: ClassVar[list[Tensor]] = []

        def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
            if "labelled" in batch.targets:
                self.seen.append(batch.targets["labelled"])
                assert not batch.masks[~self.seen[-1]].any()
            return super().terms(batch, step)

    trained = Partial(tiny.Dot())
    data = replace(tiny.batches(), reader=Mixed(8))
    if takes:
        tiny.run(tmp_path, trained=trained, data=data, steps=2)
        assert len(trained.seen) == 2
        return
    with pytest.raises(InputError, match=r"mixes samples with and without masks: .*image\d.* has none"):
        tiny.run(tmp_path, trained=trained, data=data, steps=2)


def gradients(state: State) -> list[Tensor]:
    """Of the first step, from AdamW's first moments."""
    return [moments["exp_avg"] / (1 - 0.9) for moments in state.optimiser["state"].values()]


def table(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
