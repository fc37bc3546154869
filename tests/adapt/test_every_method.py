"""Every method of adaptation on every system that it can adapt: finite terms, and a gradient for every weight."""

import copy
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from deixis.adapt.acp import ACPConfig
from deixis.adapt.dann import DANNConfig
from deixis.adapt.man import MANConfig
from deixis.adapt.mmd import MMDConfig
from deixis.adapt.plca import PLCAConfig
from deixis.batch import Batch, Domains, Pair
from deixis.errors import InputError, ModelError
from deixis.models.late_fusion import LateFusionConfig
from deixis.models.lavt import LAVTConfig
from deixis.models.sda import SDAConfig
from deixis.models.vega import VEGAConfig
from deixis.system import Objective
from deixis.text.bert import BertConfig
from deixis.text.gru import GRUConfig
from deixis.vision.i3d import I3DConfig
from deixis.vision.resnet import ResNetConfig
from deixis.vision.swin import SwinConfig

VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4, drop_path=0.0)
TEXT = BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=40, positions=24, dropout=0.0)
TINY: dict[str, Any] = {
    "lavt": LAVTConfig(vision=VISION, text=TEXT),
    "sda": SDAConfig(
        vision=ResNetConfig(depths=(1, 1, 1, 1), width=4),
        text=GRUConfig(vocabulary=40, embedding=12, width=16),
        width=16,
        decoder_width=8,
        regions=20,
        compactness=100.0,
    ),
    "vega": VEGAConfig(vision=VISION, text=TEXT, width=32, heads=2, decoder_widths=(16, 16, 24)),
}
TINY["sda_on_clips"] = replace(TINY["sda"], vision=I3DConfig(width=12))
METHODS: dict[str, Any] = {
    "acp": ACPConfig(num_steps=10, concepts=2, high=0.01),  # nearly every pixel is foreground
    "dann": DANNConfig(num_steps=10, width=16, dropout=0.0),
    "man": MANConfig(num_steps=10, width=8, high=0.01, low=0.005),  # nearly every pixel is foreground
    "mmd": MMDConfig(num_steps=10),
    "plca": PLCAConfig(num_steps=10),
}


FRAMES = [1]  # of the clips, by the system under test


def domain(seed: int, tokens: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.randn(3, FRAMES[0], 3, 64, 64, generator=draw),
        token_ids=torch.randint(1, 40, (3, tokens), generator=draw),
        token_mask=torch.arange(tokens) < torch.tensor([[tokens], [tokens - 1], [3]]),
        masks=torch.rand(3, 64, 64, generator=draw) > 0.7,
    )


def pair() -> Pair:
    return Pair(source=domain(0, 7), target=replace(domain(1, 5), masks=None))


@pytest.fixture(params=[(method, system) for method in sorted(METHODS) for system in sorted(TINY)], ids=str)
def objective(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    method, system = request.param
    monkeypatch.setattr(sys.modules[__name__], "FRAMES", [2 if system == "sda_on_clips" else 1])
    return copy.deepcopy(prepared(method, system))


@cache
def prepared(method: str, system: str) -> Any:
    torch.manual_seed(0)
    made = METHODS[method].build(TINY[system].build(), ()).train()
    made.prepare(Domains(source=[pair().source], target=[pair().target]))
    return made.train()


def test_it_is_an_objective_over_a_pair_whose_terms_are_finite(objective: Any) -> None:
    assert isinstance(objective, Objective)
    terms = objective(pair(), 5)
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    source_only = objective.system.loss(pair().source, sourced(objective))
    assert terms.keys() > source_only.keys()


def sourced(objective: Any) -> Any:
    return objective.system(pair().source, features=objective.system.loss_features)


def test_every_weight_of_the_system_and_of_the_method_gets_a_gradient(objective: Any) -> None:
    torch.stack(list(objective(pair(), 5).values())).sum().backward()
    named = {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}
    assert named.keys() >= {f"system.{name}" for name, _ in objective.system.named_parameters()}
    assert [name for name, weight in named.items() if weight.grad is None or not weight.grad.any()] == []


def test_the_target_moves_the_encoders_by_the_terms_of_the_method(objective: Any) -> None:
    terms = objective(pair(), 5)
    own = torch.stack([term for name, term in terms.items() if name in {"pixels", "words"}]).sum()
    own.backward()
    moved = [name for name, weight in objective.system.named_parameters() if weight.grad is not None]
    assert any(name.startswith("text.") for name in moved)
    assert any("vision" in name for name in moved)
    assert not any(name.startswith("decoder.") for name in moved)


def test_a_source_without_masks_is_one_sentence(objective: Any) -> None:
    with pytest.raises(InputError, match="loss needs masks, but this batch has none"):
        objective(Pair(source=replace(pair().source, masks=None), target=pair().target), 5)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_system_without_the_features_is_one_sentence(method: str) -> None:
    system = LateFusionConfig(vision=VISION, text=TEXT, width=16).build()
    with pytest.raises(ModelError, match=r"needs the features visual, but LateFusion has query, embeddings"):
        METHODS[method].build(system, ())(pair(), 5)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_wrong_config_is_one_sentence(method: str) -> None:
    for change in ({"num_steps": 0}, {"word_weight" if method == "plca" else "weight": -0.1}):
        with pytest.raises(InputError, match="expected positive numbers"):
            replace(METHODS[method], **change)
