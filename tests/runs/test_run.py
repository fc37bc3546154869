"""The records of runs: what they refuse, and how older ones are read."""

import json
from pathlib import Path

import pytest

from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.models.vega import VEGAConfig
from deixis.objectives.mask_grounding import MaskGroundingConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.runs.data import StoredData, ToylandData
from deixis.runs.run import Chain, Run, StartFrom, with_seed
from deixis.zoo.objectives import known_configs

RUN = Run(data=StoredData(), system=VEGAConfig(), seed=4)


def test_the_run_of_an_old_card_is_read_by_its_old_names() -> None:
    plain = json.loads(Path(__file__).with_name("run_with_old_names.json").read_text(encoding="utf-8"))
    assert {"matrix_lr", "slow"} <= plain["optimiser"].keys()  # the bundled model's card had them until 2026-11-30
    run = from_dict(Run, plain, known=known_configs())
    assert run.objective == SupervisedConfig()
    assert (run.optimiser.muon_lr, run.optimiser.lr_multipliers) == (0.003, {"fusion.vision.*": 0.5, "text.*": 0.5})
    assert run.start_from == StartFrom(checkpoint="runs/vega-closer/last", encoders="runs/pointing-closer/last")
    assert isinstance(run.data, ToylandData)
    assert (run.data.subsets, run.data.draw) == (("toyland", "toyland+", "toyland-g"), "object")
    assert (run.preprocess.image_size, run.preprocess.max_tokens) == (192, 32)


def test_old_names_of_what_that_run_does_not_use_are_read_too() -> None:
    plain = to_dict(RUN)
    del plain["objective"], plain["start_from"]["prefixes"], plain["start_from"]["patterns"]
    plain["grounding"] = {"share": 0.5, "weight": 0.1}
    plain["start_from"] |= {"take": "vision.", "put": "fusion.vision.", "only": ["vision.*"]}
    plain["data"] = {"type": "RefCOCOData", "every_sentence": True}
    run = from_dict(Run, json.loads(json.dumps(plain)), known=known_configs())
    assert run.objective == MaskGroundingConfig(fraction=0.5, weight=0.1)
    assert run.start_from == StartFrom(prefixes={"vision.": "fusion.vision."}, patterns=("vision.*",))
    assert run.data == StoredData(draw="sentence")


def test_every_seed_of_a_chain_is_raised() -> None:
    chain = with_seed(Chain(runs={"first": RUN, "second": Run(data=StoredData(), system=VEGAConfig())}), 3)
    assert isinstance(chain, Chain)
    assert [run.seed for run in chain.runs.values()] == [7, 3]


def test_a_chain_without_a_run_is_refused() -> None:
    with pytest.raises(InputError, match="The chain has no run"):
        Chain(runs={})


@pytest.mark.parametrize("limit", [-1, 0])
@pytest.mark.parametrize("data", [ToylandData, StoredData])
def test_validating_on_nothing_is_refused(data: type[ToylandData | StoredData], limit: int) -> None:
    with pytest.raises(InputError, match=f"A limit of {limit} expressions"):
        data(validation_limit=limit)
