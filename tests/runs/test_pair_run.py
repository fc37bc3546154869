"""A Run with a target domain: what it reads, trains on, scores and resumes to; on Toyland's scenes."""

import os
import runpy
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from deixis.adapt.mmd import MMD, MMDConfig
from deixis.batch import Batch, Domains, Output, Pair
from deixis.checkpoints import native
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.models.vega import VEGA, VEGAConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.records import Reader
from deixis.runs import execute as executing
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute, read_job
from deixis.runs.objective_report import read_report
from deixis.runs.open_data import DomainReaders, open_domains
from deixis.runs.run import LEARNED, Chain, Run, StartFrom
from deixis.runs.streams import RunReaders
from deixis.system import RunReport
from deixis.text.bert import BertConfig
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
SOURCE = ToylandData(subsets=("toyland",), num_scenes=4, validation_scenes=1, validation_limit=4, size=48, packers=1)
RUN = Run(
    data=SOURCE,
    target=SOURCE,
    system=VEGAConfig(
        vision=SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.1),
        text=BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=900, positions=16),
        width=8,
        heads=1,
        decoder_widths=(8, 8, 8),
    ),
    objective=MMDConfig(),
    preprocess=Preprocess(image_size=64, max_tokens=14),
    optimiser=Optimiser(lr=1e-3, average=0.9, no_decay=("*norm*",)),
    schedule=Schedule(steps=4, batch_size=4, log_every=2, validate_every=2),
    vocabulary=LEARNED,
    workers=0,
)


def domains(source: Reader, target: Reader, validation: Reader | None) -> Callable[..., DomainReaders]:
    return lambda *_: DomainReaders(source=source, target=target, validation=validation)


def test_a_pair_run_trains_on_both_domains_and_is_scored_on_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, built = list[Pair](), list[MMD]()
    terms = MMD.terms

    def seen(self: MMD, batch: Pair, step: int) -> dict[str, torch.Tensor]:
        pairs.append(batch)
        built.append(self)
        return terms(self, batch, step)

    monkeypatch.setattr(MMD, "terms", seen)
    folders = {name: str(tmp_path / name) for name in ("source", "target")}
    data = replace(SOURCE, packed=folders["source"])
    run = replace(RUN, data=data, target=replace(data, subsets=("toyland-g",), num_scenes=3, packed=folders["target"]))
    result = execute(run, tmp_path / "run", quiet=True)
    assert result.finished
    assert result.scores is not None
    assert result.scores.keys() == {"mIoU", "oIoU", "P@0.5"}
    readers = open_domains(run.data, run.target)  # type: ignore[arg-type]
    sources, targets = ({ids.sentence for ids in reader.ids} for reader in (readers.source, readers.target))
    assert len(pairs) == 4
    for pair in pairs:
        assert len(pair.source) == len(pair.target) == 4
        assert pair.source.masks is not None
        assert pair.target.masks is None
        assert {ids.sentence for ids in pair.source.ids} <= sources
        assert {ids.sentence for ids in pair.target.ids} <= targets
    assert built[0].config.num_steps == 4  # the run's, though run.json still leaves it open
    assert read_job(tmp_path / "run") == run
    words = set(native.read(tmp_path / "run/best").vocabulary)
    for reader in (readers.source, readers.target):
        said = " ".join(reader[position].expression for position in range(len(reader))).split()
        assert {word for word in said if word.isalpha()} <= words
    assert load(tmp_path / "run")(readers.source[0].visual.read()[0], "the red thing").mask.shape == (48, 48)


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight images of the source, three others of the target for training and two for validation."""
    monkeypatch.setattr(executing, "open_domains", domains(tiny.Squares(8), unlabelled(3), tiny.Squares(2)))


def unlabelled(count: int) -> Reader:
    reader: Reader = tiny.Squares(count, labelled=False)
    return reader


STILL = Optimiser(lr=1e-12)
SMALL = replace(RUN, preprocess=Preprocess(image_size=32, max_tokens=14))


@pytest.mark.usefixtures("squares")
def test_a_stopped_pair_run_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute(SMALL, tmp_path / "whole", quiet=True).finished
    terms, steps = MMD.terms, list[int]()

    def stopped(self: MMD, batch: Pair, step: int) -> dict[str, torch.Tensor]:
        steps.append(step)
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms(self, batch, step)

    with monkeypatch.context() as patched:
        patched.setattr(MMD, "terms", stopped)
        assert not execute(SMALL, tmp_path / "parted", quiet=True).finished
    assert steps == [0, 1]
    assert execute(SMALL, tmp_path / "parted", resume=True, quiet=True).finished
    whole, parted = (native.read(tmp_path / name / "last").weights for name in ("whole", "parted"))
    assert all(torch.equal(parted[name], tensor) for name, tensor in whole.items())


@pytest.mark.usefixtures("squares")
def test_a_supervised_run_with_a_target_trains_on_the_source_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, seen = VEGA.loss, list[tuple[bool, Batch]]()

    def watched(self: VEGA, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        seen.append((self.training, batch))
        return loss(self, batch, output)

    monkeypatch.setattr(VEGA, "loss", watched)
    result = execute(replace(SMALL, objective=SupervisedConfig()), tmp_path, quiet=True)
    assert result.scores is not None
    assert {"mIoU", "loss"} <= result.scores.keys()
    trained = {ids.image for training, batch in seen if training for ids in batch.ids}
    scored = {ids.image for training, batch in seen if not training for ids in batch.ids}
    assert len(trained) > 3  # more images than the target has
    assert scored == {"image0", "image1"}


def test_a_target_without_masks_measures_nothing_and_publishes_the_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, validation in (("unlabelled", unlabelled(2)), ("without", None)):
        monkeypatch.setattr(executing, "open_domains", domains(tiny.Squares(8), unlabelled(3), validation))
        result = execute(SMALL, tmp_path / name, quiet=True)
        assert (result.finished, result.scores, result.best) == (True, None, None)
        assert "nothing is measured, and the last weights are the result" in capsys.readouterr().err
        assert not (tmp_path / name / "best").exists()
        assert load(tmp_path / name).card.scores == {}
    assert execute(SMALL, tmp_path / "without", resume=True, quiet=True) == result


@pytest.mark.usefixtures("squares")
def test_a_method_starts_from_the_source_has_its_folders_first_and_reports_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, prepare = list[str](), MMD.prepare

    def use_folders(self: MMD, own: Path, earlier: Mapping[str, Path]) -> None:
        assert (own, dict(earlier)) == (tmp_path / "mmd", {"source": tmp_path / "source"})
        calls.append("folders")

    def prepared(self: MMD, batches: Domains) -> None:
        assert len([ids for batch in batches.target for ids in batch.ids]) == 18
        assert len([ids for batch in batches.source for ids in batch.ids]) == 48
        calls.append("prepare")
        prepare(self, batches)

    def report(self: MMD) -> RunReport:
        calls.append("report")
        return RunReport(facts={"steps": self.config.num_steps})

    monkeypatch.setattr(MMD, "use_folders", use_folders, raising=False)
    monkeypatch.setattr(MMD, "prepare", prepared)
    monkeypatch.setattr(MMD, "report", report, raising=False)
    later = replace(SMALL, start_from=StartFrom(checkpoint="source"), vocabulary="source", optimiser=STILL)
    chain = Chain(runs={"source": replace(SMALL, objective=SupervisedConfig()), "mmd": later})
    assert execute(chain, tmp_path, quiet=True).finished
    assert calls == ["folders", "prepare", "report"]
    stored = read_report(tmp_path / "mmd")
    assert stored is not None
    assert stored.facts == {"steps": 4}
    assert read_report(tmp_path / "source") is None
    first, second = (native.read(tmp_path / name / "best") for name in ("source", "mmd"))
    assert first.vocabulary == second.vocabulary
    for name, tensor in first.weights.items():
        torch.testing.assert_close(second.weights[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("squares")
def test_the_target_is_part_of_what_a_resumed_run_must_find_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(SMALL, tmp_path, quiet=True)
    longer = replace(SMALL, schedule=replace(SMALL.schedule, steps=5))
    monkeypatch.setattr(executing, "open_domains", domains(tiny.Squares(8), unlabelled(4), tiny.Squares(2)))
    with pytest.raises(InputError, match="the target has 24 samples, and had 18"):
        execute(longer, tmp_path, resume=True, quiet=True)


def test_an_objective_over_pairs_needs_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "open_data", lambda data: (tiny.Squares(4), tiny.Squares(2)))
    alone = replace(SMALL, target=None)
    for job in (alone, Chain(runs={"source": replace(alone, objective=SupervisedConfig()), "mmd": alone})):
        with pytest.raises(InputError, match="MMD adapts to a target domain, but the run has none; give its target"):
            execute(job, tmp_path, quiet=True)
        assert not list(tmp_path.glob("*.json"))


def test_shared_images_are_warned_of_by_the_split_that_holds_them() -> None:
    readers = RunReaders(training=tiny.Squares(4), target=unlabelled(3), validation=tiny.Squares(2))
    sentences = readers.warnings()
    assert len(sentences) == 3
    assert sentences[0].startswith("The validation split shares 2 of its images with training (such as image0)")
    assert sentences[1].startswith("The target's training split shares 3 of its images with the source")
    assert sentences[2].startswith("The target's validation split shares 2 of its images with the source")


def test_a_source_that_is_read_without_masks_is_one_sentence() -> None:
    with pytest.raises(InputError, match="source domain is read with labels='none'; adaptation needs its masks"):
        open_domains(replace(SOURCE, labels="none"), SOURCE)
