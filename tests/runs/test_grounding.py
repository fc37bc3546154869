"""A run with mask grounding trains more than it publishes, and treats the system's weights as it would without."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from deixis.checkpoints import native
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.magnet import MagNetConfig
from deixis.models.vega import VEGAConfig
from deixis.objectives.mask_grounding import GroundingConfig
from deixis.recipes.catalogue import RECIPES
from deixis.runs.data import ToylandData
from deixis.runs.grounding import ground, optimiser_around, ungrounded
from deixis.runs.run import LEARNED, Run, execute
from deixis.text.bert import BertConfig
from deixis.training.optim import Optimiser, parameter_groups
from deixis.training.schedule import Schedule
from deixis.training.state import State
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load
from deixis.zoo.systems import build, name_of

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))
VISION = SwinConfig(embed_dim=4, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4, drop_path=0.1)
TEXT = BertConfig(layers=1, width=8, heads=1, feed_forward=8, vocabulary=180, positions=8)
SMALL = GroundingConfig(layers=1, width=8, heads=2, feed_forward=8)
RUN = Run(
    data=ToylandData(packed=None, sentences_per_image=2, validation_limit=4),
    system=LAVTConfig(vision=VISION, text=TEXT),
    preprocess=Preprocess(image_size=64, max_tokens=6),
    optimiser=Optimiser(lr=1e-3, average=0.5, no_decay=("*norm*", "fusion.*.bias"), frozen=("text.bert.embeddings.*",)),
    schedule=Schedule(steps=3, batch_size=4, log_every=1, validate_every=2, save_every=3),
    vocabulary=LEARNED,
    grounding=SMALL,
    workers=0,
    description="tiny",
)
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cup")


def test_a_grounded_run_publishes_the_system_alone_and_keeps_all_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToylandData, "readers", lambda self: (tiny.Squares(4), tiny.Squares(2)))
    execute(RUN, tmp_path, quiet=True)
    published = native.read(tmp_path / "last")
    assert published.card.system == "lavt"
    assert published.card.run["grounding"]["layers"] == 1
    assert published.weights.keys() == build("lavt", RUN.system).state_dict().keys()
    state = State.load(tmp_path / "last/state.pt")
    assert any(name.startswith("predictor.") for name in state.weights)
    assert state.average is not None
    averages = ungrounded(state.average)
    assert averages
    assert all(torch.equal(published.weights[name], average) for name, average in averages.items())
    assert any(not torch.equal(average, state.weights[f"system.{name}"]) for name, average in averages.items())
    prediction = load(tmp_path)(tiny.Squares(1)[0].visual.read()[0], "the red")
    assert prediction.mask.shape == (12, 12)
    header = (tmp_path / "journal.csv").read_text().splitlines()[0].split(",")
    assert {"loss/mask", "loss/grounding", "val/miou"} <= set(header)
    with pytest.raises(DeixisError, match=r"another run \(grounding is"):
        execute(replace(RUN, grounding=None), tmp_path, resume=True, quiet=True)


def narrow(name: str) -> Run:
    """The recipe's run with encoders and decoders of a few channels, at their depth."""
    run = RECIPES[name]()
    changes: dict[str, Any] = {
        "vision": replace(run.system.vision, embed_dim=8, depths=(1, 1, 2, 1), heads=(1, 1, 1, 1)),
        "text": replace(run.system.text, width=8, heads=1, feed_forward=8, vocabulary=20, positions=24),
    }
    if isinstance(run.system, VEGAConfig):
        changes |= {"width": 8, "decoder_widths": (8, 8, 8)}
    if isinstance(run.system, MagNetConfig):
        changes |= {"width": 32, "mask_width": 8, "heads": 2, "pixel_feed_forward": 8, "query_feed_forward": 8}
    return replace(run, system=replace(run.system, **changes), grounding=SMALL)


def treatment(system: nn.Module, optimiser: Optimiser) -> dict[str, tuple[Any, ...]]:
    """Of every trained parameter: its weight decay, its rate, and whether Muon turns it."""
    names = {id(parameter): name for name, parameter in system.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["base_lr"], group["orthogonal"])
        for group in parameter_groups(system, optimiser)
        for parameter in group["params"]  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("size", ["refcoco", "toyland"])
@pytest.mark.parametrize("system", ["lavt", "magnet", "vega"])
def test_the_optimiser_means_the_same_weights_inside_the_wrapper(system: str, size: str) -> None:
    run = narrow(f"{system}_{size}")
    assert run.grounding is not None
    alone = treatment(build(name_of(run.system), run.system), run.optimiser)
    grounded = ground(build(name_of(run.system), run.system), run.grounding, VOCABULARY)
    around = treatment(grounded, optimiser_around(run.optimiser, grounded))
    assert {key.removeprefix("system."): value for key, value in around.items() if key.startswith("system.")} == alone
    own = {key: value for key, value in around.items() if key.startswith("predictor.")}
    assert len(own) == len(list(grounded.predictor.parameters()))
    assert {rate for _, rate, orthogonal in own.values() if not orthogonal} == {run.optimiser.lr}
    if size == "toyland":
        assert {own[key][0] for key in own if key.endswith(".bias") or "norm" in key.lower()} == {0.0}


def test_a_pattern_may_mean_the_predictor_and_a_mistyped_one_is_still_complained_about() -> None:
    run = narrow("lavt_refcoco")
    assert run.grounding is not None
    grounded = ground(build("lavt", run.system), run.grounding, VOCABULARY)
    slow = optimiser_around(Optimiser(slow=("predictor.*",)), grounded)
    assert slow.slow == ("predictor.*",)
    with pytest.raises(DeixisError, match="names 'fusio', but no parameter matches"):
        parameter_groups(grounded, optimiser_around(Optimiser(no_decay=("fusio",)), grounded))


def test_magnet_is_trained_with_mask_grounding_as_published_and_toylands_grounded_differ_in_it_alone() -> None:
    for data in ("refcoco", "refcoco_plus", "gref_umd", "gref_google"):
        assert RECIPES[f"magnet_{data}"]().grounding == GroundingConfig()
    assert RECIPES["magnet_toyland"]().grounding is not None
    for system in ("lavt", "vega"):
        plain, grounded = RECIPES[f"{system}_toyland"](), RECIPES[f"{system}_toyland_grounded"]()
        assert plain.grounding is None
        assert grounded.grounding is not None
        assert replace(grounded, grounding=None, description=plain.description) == plain


def test_a_system_whose_pixels_never_meet_the_words_is_refused() -> None:
    pointing = build("late_fusion", LateFusionConfig(vision=VISION, text=TEXT, width=8))
    with pytest.raises(DeixisError, match="LateFusion fuses none"):
        ground(pointing, SMALL, VOCABULARY)
