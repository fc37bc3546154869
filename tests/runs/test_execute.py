"""A Run or a Chain from its record to its folder, on a world of coloured squares."""

import os
import runpy
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from deixis import masks
from deixis.batch import Batch, Output
from deixis.checkpoints import native
from deixis.checkpoints.configs import from_dict
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.models.late_fusion import LateFusion, LateFusionConfig
from deixis.models.magnet import MagNet, MagNetConfig
from deixis.models.scene_parsing import SceneParsing, SceneParsingConfig
from deixis.models.sda import SDAConfig
from deixis.models.vega import VEGA, VEGAConfig
from deixis.objectives.dense_classes import DenseClassesConfig
from deixis.objectives.mask_grounding import MaskGroundingConfig
from deixis.records import Ids, MaskRule, Sample
from deixis.runs import execute as executing
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute, execute_seeds, read_job
from deixis.runs.run import LEARNED, Chain, Run, StartFrom
from deixis.text.bert import BertConfig
from deixis.text.gru import GRUConfig
from deixis.text.words import WordTokenizer
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.training.state import State
from deixis.vision.resnet import ResNetConfig
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load
from deixis.zoo.objectives import known_configs
from deixis.zoo.systems import system_of_card

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
    monkeypatch.setattr(executing, "open_data", lambda data: (tiny.Squares(4), tiny.Squares(2)))


def test_a_run_trains_saves_resumes_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = execute(RUN, tmp_path, quiet=True)
    assert result.finished
    # The squares that are held out are the first of those that are trained on.
    assert "warning: The validation split shares 2 of its images with training" in capsys.readouterr().err
    assert read_job(tmp_path) == RUN
    card = native.read_card(tmp_path / "best")
    assert card.system == "vega"
    assert from_dict(system_of_card(card.system), card.config) == RUN.system
    assert from_dict(Run, card.run, known=known_configs()) == RUN
    assert card.preprocess == RUN.preprocess
    assert 0 <= card.scores["training-loop"]["val"]["mIoU"] <= 1
    prediction = load(tmp_path)(tiny.Squares(1)[0].visual.read()[0], "the red")
    assert prediction.mask.shape == (12, 12)
    with pytest.raises(InputError, match="already holds this run; add --resume"):
        execute(RUN, tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"another run \(optimiser.lr is 0.001 there, 0.1 here\)"):
        execute(replace(RUN, optimiser=replace(RUN.optimiser, lr=0.1)), tmp_path, resume=True, quiet=True)
    before = (tmp_path / "vocab.txt").read_text()
    again = execute(replace(RUN, workers=1), tmp_path, resume=True, quiet=True)  # workers change no number
    assert again.finished
    assert again.step == 4
    assert (tmp_path / "vocab.txt").read_text() == before


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run to resume"):
        execute(RUN, tmp_path / "absent", resume=True)
    for broken in (b"{", b"\xff", b"[" * 200_000):
        (tmp_path / "run.json").write_bytes(broken)
        with pytest.raises(InputError, match="is not JSON"):
            execute(RUN, tmp_path, resume=True)


def test_a_run_starts_from_some_of_anothers_weights(tmp_path: Path) -> None:
    execute(RUN, tmp_path / "first", quiet=True)
    origin = StartFrom(checkpoint=str(tmp_path / "first/last"), patterns=("fusion.vision.*",))
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
    origin = StartFrom(checkpoint=str(tmp_path / "first/last"), required=True)
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
    with pytest.raises(InputError, match="first/last"):  # nothing was saved that could stand in its place
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
    with pytest.raises(InputError, match="has 204 words, but the text encoder supports 180"):
        execute(replace(RUN, vocabulary=str(tmp_path / "vocab.txt")), tmp_path / "run", quiet=True)


def test_longer_sentences_than_the_text_encoder_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of 9 tokens are to be read, but the text encoder has 8 positions"):
        execute(replace(RUN, preprocess=replace(RUN.preprocess, max_tokens=9)), tmp_path / "run", quiet=True)


def test_a_run_that_could_not_begin_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    nowhere = replace(RUN, start_from=StartFrom(checkpoint=str(tmp_path / "absent")))
    too_long = replace(RUN, preprocess=replace(RUN.preprocess, max_tokens=9))
    mistyped = replace(RUN, optimiser=replace(RUN.optimiser, lr_multipliers={"visoin.*": 0.1}))
    for broken in (nowhere, too_long, mistyped, replace(RUN, workers=-1)):
        with pytest.raises(InputError):
            execute(broken, tmp_path / "run", quiet=True)
        assert read_job(tmp_path / "run") is None
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")  # of other sentences
    assert execute(RUN, tmp_path / "run", quiet=True).finished
    assert len((tmp_path / "run" / "vocab.txt").read_text().splitlines()) > 100
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(InputError, match=r"holds last/state\.safetensors but no run\.json that describes the run"):
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


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_magnet_with_mask_grounding_stops_and_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Literal["fp32", "bf16"]
) -> None:
    grounding = MaskGroundingConfig(layers=1, width=8, heads=1, feed_forward=8)
    optimiser = replace(RUN.optimiser, muon_lr=1e-3 if precision == "bf16" else None)
    run = replace(RUN, system=MAGNET, objective=grounding, precision=precision, optimiser=optimiser)
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


def test_mask_grounding_publishes_the_system_alone_and_keeps_its_predictor_to_resume(tmp_path: Path) -> None:
    grounding = MaskGroundingConfig(layers=1, width=8, heads=1, feed_forward=8)
    run = replace(RUN, objective=grounding)
    execute(run, tmp_path, quiet=True)
    published = native.read(tmp_path / "last")
    assert published.card.run["objective"]["type"] == "MaskGroundingConfig"
    assert published.weights.keys() == RUN.system.build().state_dict().keys()
    state = State.load(tmp_path / "last/state.safetensors")
    assert any(name.startswith("predictor.") for name in state.objective)
    with pytest.raises(InputError, match=r"another run \(objective\."):
        execute(RUN, tmp_path, resume=True, quiet=True)


@dataclass(frozen=True)
class Parsed:
    """Squares as scenes: no sentence, no mask, one attribute with the classes background and colour."""

    squares: Any

    @property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(ids for ids in self.squares.ids if ids.object == "thing0" and ids.sentence == "sentence0")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        sample = self.squares[6 * position]
        red = masks.decode(sample.mask)
        return replace(sample, expression="", mask=None, targets={"kind": red.astype(np.uint8)})


PARSING = replace(
    RUN,
    data=replace(RUN.data, packed="unused", labels="classes"),
    system=SceneParsingConfig(vision=RUN.system.vision, attributes=(("kind", 1),), width=8),
    objective=DenseClassesConfig(),
    schedule=replace(RUN.schedule, batch_size=2),
    choose_best="loss",
)
CHAIN = Chain(
    runs={
        "scene-parsing": PARSING,
        "late-fusion": replace(
            RUN,
            system=LateFusionConfig(vision=RUN.system.vision, text=RUN.system.text, width=8),
            start_from=StartFrom(checkpoint="scene-parsing", prefixes={"vision.": "fusion.vision."}),
        ),
        "vega": replace(
            RUN,
            optimiser=Optimiser(lr=1e-12),
            start_from=StartFrom(checkpoint="late-fusion", patterns=("text.*", "fusion.vision.*")),
            vocabulary="late-fusion",
        ),
    }
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which data were opened, in order: a Run that is skipped opens none."""
    found: list[str] = []

    def open_data(data: ToylandData) -> tuple[Any, Any]:
        found.append(data.labels)
        train, val = tiny.Squares(4), tiny.Squares(2)
        return (Parsed(train), Parsed(val)) if data.labels == "classes" else (train, val)

    monkeypatch.setattr(executing, "open_data", open_data)
    return found


def test_each_run_of_a_chain_starts_from_the_one_before(tmp_path: Path, opened: list[str]) -> None:
    assert execute(CHAIN, tmp_path, quiet=True).finished
    assert opened == ["classes", "masks", "masks"]
    assert read_job(tmp_path) == CHAIN
    assert [read_job(tmp_path / name) for name in CHAIN.runs] == list(CHAIN.runs.values())
    fusion, vega = (native.read(tmp_path / name / "best") for name in ("late-fusion", "vega"))
    assert fusion.vocabulary == vega.vocabulary
    shared = [name for name in vega.weights if name.startswith(("text.", "fusion.vision."))]
    assert shared
    for name in shared:
        torch.testing.assert_close(vega.weights[name], fusion.weights[name], atol=1e-6, rtol=0)
    loaded = load(tmp_path, device="cpu")
    assert loaded.card.system == "vega"
    assert loaded(tiny.Squares(1)[0].visual.read()[0], "the red").size == (12, 12)


def test_a_pre_training_run_publishes_its_encoder_alone(tmp_path: Path, opened: list[str]) -> None:
    result = execute(PARSING, tmp_path, quiet=True)
    published = native.read(tmp_path / "best")
    assert published.weights
    assert all(name.startswith("vision.") for name in published.weights)
    assert published.card.scores["training-loop"]["val"]["loss"] == pytest.approx(result.best)
    with pytest.raises(InputError, match="holds an encoder to start a training from"):
        load(tmp_path)


def kill_at(monkeypatch: pytest.MonkeyPatch, system: type[Any], step: int) -> None:
    """SIGTERM at a training step of the system."""
    forward, steps = system.forward, list[bool]()

    def killed(self: Any, *arguments: Any, **options: Any) -> Any:
        steps.append(self.training)
        if sum(steps) == step and self.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(system, "forward", killed)


def test_a_stopped_chain_resumes_at_the_first_unfinished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    execute(CHAIN, tmp_path / "whole", quiet=True)
    whole = native.read(tmp_path / "whole/vega/last").weights
    for left, system in enumerate((VEGA, LateFusion, SceneParsing), start=1):
        out = tmp_path / str(left)
        with monkeypatch.context() as patched:
            kill_at(patched, system, 2)
            assert not execute(CHAIN, out, quiet=True).finished
        opened.clear()
        assert execute(CHAIN, out, resume=True, quiet=True).finished
        assert len(opened) == left
        parted = native.read(out / "vega/last").weights
        assert all(torch.equal(parted[name], tensor) for name, tensor in whole.items())
    opened.clear()
    assert execute(CHAIN, out, resume=True, quiet=True).finished
    assert opened == []


def test_a_chain_killed_before_its_first_step_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(data: ToylandData) -> None:
        raise KeyboardInterrupt  # as a kill, it ends the process and is nobody's mistake

    with monkeypatch.context() as patched:
        patched.setattr(executing, "open_data", killed)
        with pytest.raises(KeyboardInterrupt):
            execute(Chain(runs={"vega": RUN}), tmp_path, quiet=True)
    assert execute(Chain(runs={"vega": RUN}), tmp_path, resume=True, quiet=True).finished


def test_a_mistake_in_a_later_run_is_found_before_the_first_one_trains(tmp_path: Path, opened: list[str]) -> None:
    last = CHAIN.runs["vega"]
    mistaken = (
        replace(last, optimiser=Optimiser(lr_multipliers={"visoin.*": 0.1})),
        replace(last, preprocess=replace(last.preprocess, max_tokens=9)),
    )
    for run in mistaken:
        with pytest.raises(InputError):
            execute(Chain(runs={**CHAIN.runs, "vega": run}), tmp_path, quiet=True)
    absent = replace(PARSING, start_from=StartFrom(checkpoint=str(tmp_path / "absent")))
    with pytest.raises(InputError, match="There is no model"):
        execute(Chain(runs={**CHAIN.runs, "scene-parsing": absent}), tmp_path, quiet=True)
    assert opened == []
    assert read_job(tmp_path) is None


def test_a_chain_and_a_run_do_not_take_each_others_folder(tmp_path: Path) -> None:
    execute(Chain(runs={"vega": RUN}), tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"already holds this run; add --resume"):
        execute(Chain(runs={"vega": RUN}), tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"another run \(runs\.vega\.seed is 0 there, 3 here\)"):
        execute(Chain(runs={"vega": replace(RUN, seed=3)}), tmp_path, resume=True, quiet=True)
    with pytest.raises(InputError, match="holds another run"):
        execute(RUN, tmp_path, resume=True, quiet=True)


def test_several_seeds_differ_and_those_that_are_finished_are_skipped(tmp_path: Path, opened: list[str]) -> None:
    first = execute_seeds(RUN, tmp_path, 2, quiet=True)
    assert [read_job(tmp_path / f"seed-{number}") for number in (0, 1)] == [RUN, replace(RUN, seed=1)]
    zero, one = (native.read(tmp_path / f"seed-{number}/last").weights for number in (0, 1))
    assert not torch.equal(zero["mask.weight"], one["mask.weight"])
    opened.clear()
    again = execute_seeds(RUN, tmp_path, 3, resume=True, quiet=True)
    assert len(opened) == 1
    assert again[:2] == first
    assert read_job(tmp_path / "seed-2") == replace(RUN, seed=2)


SDA_RUN = replace(
    RUN,
    system=SDAConfig(
        vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
        text=GRUConfig(vocabulary=90, embedding=4, width=8),
        width=8,
        decoder_width=4,
        regions=8,
    ),
    preprocess=Preprocess(image_size=64, max_tokens=8, fit="pad"),
    mask_rule=MaskRule(kind="half-maximum"),
    optimiser=Optimiser(lr=1e-3),
)


def test_a_system_of_whole_words_learns_its_vocabulary_and_segments_a_photo(tmp_path: Path) -> None:
    execute(SDA_RUN, tmp_path / "run", quiet=True)
    segmenter = load(tmp_path / "run")
    assert isinstance(segmenter.tokenizer, WordTokenizer)
    assert 2 < len(segmenter.tokenizer) <= 90
    photo = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    prediction = segmenter(photo, "the red")
    assert prediction.mask.shape == (40, 60)
    assert np.array_equal(prediction.mask, prediction.probability > prediction.probability.max() / 2)
    assert segmenter(photo, "zzz").notes == (
        "The model " + repr(segmenter.name) + " does not know 1 of the words of 'zzz'.",
    )


def test_bert_pieces_are_not_a_vocabulary_of_whole_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reads whole words, but .* consists of pieces; give --vocabulary learned"):
        execute(replace(SDA_RUN, vocabulary="bert-base-uncased"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "run.json").exists()
