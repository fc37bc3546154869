"""A Run from its recipe to its folder, on a world of coloured squares."""

import json
import os
import runpy
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import torch

from deixis.batch import Batch, Output
from deixis.checkpoints import native
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.models.magnet import MagNet, MagNetConfig
from deixis.models.vega import VEGA, VEGAConfig
from deixis.objectives.mask_grounding import GroundingConfig
from deixis.recipes.catalogue import RECIPES
from deixis.runs.data import StoredData, ToylandData
from deixis.runs.initialise import StartFrom
from deixis.runs.run import LEARNED, Run, execute, read_run
from deixis.text.bert import BertConfig
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
RUN = Run(
    data=ToylandData(packed=None, sentences_per_image=2, validation_limit=4),
    system=VEGAConfig(
        vision=SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.1),
        text=BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=180, positions=8),
        width=8,
        heads=1,
        decoder_widths=(8, 8, 8),
    ),
    preprocess=Preprocess(image_size=64, max_tokens=6),
    optimiser=Optimiser(lr=1e-3, average=0.9, no_decay=("*norm*",)),
    schedule=Schedule(steps=4, batch_size=4, log_every=2, validate_every=2),
    vocabulary=LEARNED,
    workers=0,
    description="tiny",
)


@pytest.fixture(autouse=True)
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToylandData, "readers", lambda self: (tiny.Squares(4), tiny.Squares(2)))


def test_a_run_trains_saves_resumes_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = execute(RUN, tmp_path, quiet=True)
    assert result.finished
    # The squares that are held out are the first of those that are trained on.
    assert "warning: The validation split shares 2 of its images with training" in capsys.readouterr().err
    assert read_run(tmp_path) == RUN
    card = native.read_card(tmp_path / "best")
    assert card.system == "vega"
    assert native.config_of(card, {"vega": (VEGAConfig, None)}) == RUN.system
    assert from_dict(Run, card.run) == RUN
    assert card.preprocess == RUN.preprocess
    assert 0 <= card.scores["training-loop"]["val"]["miou"] <= 1
    prediction = load(tmp_path)(tiny.Squares(1)[0].visual.read()[0], "the red")
    assert prediction.mask.shape == (12, 12)
    with pytest.raises(DeixisError, match="already holds this run; add --resume"):
        execute(RUN, tmp_path, quiet=True)
    with pytest.raises(DeixisError, match=r"another run \(optimiser.lr is 0.001 there, 0.1 here\)"):
        execute(replace(RUN, optimiser=replace(RUN.optimiser, lr=0.1)), tmp_path, resume=True, quiet=True)
    before = (tmp_path / "vocab.txt").read_text()
    again = execute(replace(RUN, workers=1), tmp_path, resume=True, quiet=True)  # workers change no number
    assert again.finished
    assert again.step == 4
    assert (tmp_path / "vocab.txt").read_text() == before


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="holds no run to resume"):
        execute(RUN, tmp_path / "absent", resume=True)
    plain = to_dict(replace(RUN, data=StoredData(dataset="refcoco")))
    del plain["data"]["skip_broken"]
    (tmp_path / "run.json").write_text(json.dumps(plain | {"data": plain["data"] | {"type": "RefCOCOData"}}))
    assert read_run(tmp_path) == replace(RUN, data=StoredData(dataset="refcoco"))  # as they were written at first
    for broken in (b"{", b"\xff", b"[" * 200_000):
        (tmp_path / "run.json").write_bytes(broken)
        with pytest.raises(DeixisError, match="is no JSON"):
            execute(RUN, tmp_path, resume=True)


def test_a_run_starts_from_some_of_anothers_weights(tmp_path: Path) -> None:
    execute(RUN, tmp_path / "first", quiet=True)
    origin = StartFrom(checkpoint=str(tmp_path / "first/last"), take="fusion.vision.", put="fusion.vision.")
    still = replace(RUN, start_from=origin, optimiser=Optimiser(lr=1e-12), seed=5)
    execute(still, tmp_path / "second", quiet=True)
    first, second = (native.read(tmp_path / name / "last").weights for name in ("first", "second"))
    for name, tensor in second.items():
        if name.startswith("fusion.vision."):
            torch.testing.assert_close(tensor, first[name], atol=1e-6, rtol=0)
    assert not torch.allclose(second["mask.weight"], first["mask.weight"])


def test_a_run_goes_on_without_the_weights_and_the_vocabulary_that_it_began_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(RUN, tmp_path / "first", quiet=True)
    origin = StartFrom(checkpoint=str(tmp_path / "first/last"), needed=True)
    run = replace(RUN, start_from=origin, vocabulary=str(tmp_path / "first/vocab.txt"))
    whole, parted, unsaved = (tmp_path / name for name in ("whole", "parted", "unsaved"))
    assert execute(run, whole, quiet=True).finished
    loss, steps = VEGA.loss, list[bool]()

    def stopped_in_the_second_step(self: VEGA, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        steps.append(self.training)
        if sum(steps) == 2 and self.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch, output)

    monkeypatch.setattr(VEGA, "loss", stopped_in_the_second_step)
    assert not execute(run, parted, quiet=True).finished
    shutil.copytree(parted, unsaved, ignore=shutil.ignore_patterns("last"))
    shutil.rmtree(tmp_path / "first")
    assert execute(run, parted, resume=True, quiet=True).finished
    ours, theirs = (native.read(folder / "last") for folder in (parted, whole))
    assert ours.vocabulary == theirs.vocabulary
    assert all(torch.equal(ours.weights[name], tensor) for name, tensor in theirs.weights.items())
    with pytest.raises(DeixisError, match="first/last"):  # nothing was saved that could stand in its place
        execute(run, unsaved, resume=True, quiet=True)


def test_a_run_that_ended_before_it_saved_anything_begins_anew(tmp_path: Path) -> None:
    execute(RUN, tmp_path, quiet=True)
    before = native.read(tmp_path / "last")
    shutil.rmtree(tmp_path / "last")
    assert execute(RUN, tmp_path, resume=True, quiet=True).finished
    after = native.read(tmp_path / "last")
    assert after.vocabulary == before.vocabulary
    assert all(torch.equal(after.weights[name], tensor) for name, tensor in before.weights.items())


def test_a_new_run_reads_its_own_vocabulary_and_not_one_that_another_left(tmp_path: Path) -> None:
    (tmp_path / "run/last").mkdir(parents=True)
    (tmp_path / "run/last/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    assert execute(RUN, tmp_path / "run", quiet=True).finished
    assert len(native.read(tmp_path / "run/last").vocabulary) > 100


def test_a_vocabulary_larger_than_the_text_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(200))]))
    with pytest.raises(DeixisError, match="has 204 words, but the text encoder only 180"):
        execute(replace(RUN, vocabulary=str(tmp_path / "vocab.txt")), tmp_path / "run", quiet=True)


def test_longer_sentences_than_the_text_encoder_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="of 9 words are to be read, but the text encoder has 8 positions"):
        execute(replace(RUN, preprocess=replace(RUN.preprocess, max_tokens=9)), tmp_path / "run", quiet=True)


def test_a_run_that_could_not_begin_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    nowhere = replace(RUN, start_from=StartFrom(checkpoint=str(tmp_path / "absent")))
    too_long = replace(RUN, preprocess=replace(RUN.preprocess, max_tokens=9))
    mistyped = replace(RUN, optimiser=replace(RUN.optimiser, slow=("visoin.*",)))
    for broken in (nowhere, too_long, mistyped, replace(RUN, workers=-1)):
        with pytest.raises(DeixisError):
            execute(broken, tmp_path / "run", quiet=True)
        assert read_run(tmp_path / "run") is None
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")  # of other sentences
    assert execute(RUN, tmp_path / "run", quiet=True).finished
    assert len((tmp_path / "run" / "vocab.txt").read_text().splitlines()) > 100
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(DeixisError, match=r"holds a run's last/state\.pt but no run\.json that says which"):
        execute(RUN, tmp_path / "run", quiet=True)


MAGNET = MagNetConfig(
    vision=RUN.system.vision,
    text=replace(RUN.system.text, layers=4),
    width=32,
    mask_width=8,
    heads=1,
    pixel_layers=1,
    pixel_feed_forward=8,
    query_layers=1,
    query_feed_forward=8,
)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_magnet_with_mask_grounding_stops_and_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["fp32", "bf16"]
) -> None:
    grounding = GroundingConfig(layers=1, width=8, heads=1, feed_forward=8)
    optimiser = replace(RUN.optimiser, matrix_lr=1e-3 if precision == "bf16" else None)
    run = replace(RUN, system=MAGNET, grounding=grounding, precision=precision, optimiser=optimiser)
    loss, steps = MagNet.loss, list[bool]()
    assert execute(run, tmp_path / "whole", quiet=True).finished

    def stopped_in_the_second_step(self: MagNet, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        steps.append(self.training)
        if sum(steps) == 2 and self.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, batch, output)

    monkeypatch.setattr(MagNet, "loss", stopped_in_the_second_step)
    first = execute(run, tmp_path / "parted", quiet=True)
    assert (first.finished, first.step) == (False, 2)
    assert execute(run, tmp_path / "parted", resume=True, quiet=True).finished
    whole, parted = (native.read(tmp_path / name / "last") for name in ("whole", "parted"))
    assert whole.card.system == "magnet"
    assert whole.weights.keys() == MagNet(MAGNET).state_dict().keys()  # and no predictor's
    assert all(torch.equal(parted.weights[name], tensor) for name, tensor in whole.weights.items())
    prediction = load(tmp_path / "parted")(tiny.Squares(1)[0].visual.read()[0], "the red")
    assert 0 < prediction.score < 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_run_that_survives_json_and_says_how_to_use_it(name: str) -> None:
    run = RECIPES[name]()
    assert from_dict(Run, json.loads(json.dumps(to_dict(run)))) == run
    docstring = RECIPES[name].__doc__ or ""
    assert docstring.startswith(f"`deixis train {name.replace('_', '-')}")
    assert "measured" in docstring
    assert run.description
