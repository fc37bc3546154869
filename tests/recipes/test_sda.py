"""The Chain of SDA's stages, at toy size."""

from dataclasses import replace
from pathlib import Path

import pytest

from deixis.adapt.sda.activation import ActivationOptions
from deixis.adapt.sda.categories import Clusters
from deixis.adapt.sda.construction import CategoryOptions
from deixis.adapt.sda.dual import DualAdaptationConfig
from deixis.adapt.sda.semantic import SemanticInitialisationConfig
from deixis.data.transforms import Preprocess
from deixis.models.sda import SDAConfig
from deixis.recipes.sda import SDAStages, sda_runs
from deixis.records import MaskRule
from deixis.runs.data import ToylandData
from deixis.runs.execute import execute
from deixis.runs.run import LEARNED, Chain, Run
from deixis.text.gru import GRUConfig
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule
from deixis.vision.resnet import ResNetConfig

TOYLAND = ToylandData(subsets=("toyland",), packed=None, num_scenes=6, validation_scenes=1, validation_limit=4, size=48)
SOURCE = Run(
    data=TOYLAND,
    target=replace(TOYLAND, subsets=("toyland+",), num_scenes=4),
    system=SDAConfig(
        vision=ResNetConfig(depths=(1, 1, 1, 1), width=4, norms="trained"),
        text=GRUConfig(vocabulary=400, embedding=12, width=16),
        width=16,
        decoder_width=8,
        regions=20,
    ),
    preprocess=Preprocess(image_size=64, max_tokens=12, fit="pad"),
    mask_rule=MaskRule(kind="half-maximum"),
    optimiser=Optimiser(lr=1e-3, weight_decay=0.0),
    schedule=Schedule(steps=4, batch_size=4, warm_up=2, decay="inverse", log_every=2, validate_every=2),
    vocabulary=LEARNED,
    workers=0,
)
STAGES = SDAStages(
    semantic=SemanticInitialisationConfig(
        categories=CategoryOptions(
            clusters=Clusters(method="k-means", count=3), boundary=0.9, similarity_temperature=0.2
        )
    ),
    dual=DualAdaptationConfig(
        high=0.5, low=0.4, memory=3, cells=2, relation_width=8, activation=ActivationOptions(scales=(1.0,), regions=20)
    ),
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Path]:
    job = Chain(runs={"source": SOURCE, **sda_runs(SOURCE, STAGES)})
    out = tmp_path_factory.mktemp("chain")
    assert execute(job, out, quiet=True).finished
    return job, out


def test_the_chain_runs_from_end_to_end(chain: tuple[Chain, Path]) -> None:
    job, out = chain
    assert [*job.runs] == ["source", "predictor", "semantic", "classifier", "sda"]
    assert (out / "sda/last/model.safetensors").exists()
    assert (out / "semantic/categories.json").exists()
    assert list((out / "sda/semantic_masks").rglob("*.png"))
