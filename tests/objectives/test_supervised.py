"""A system's own loss: from the features that it names, in single precision."""

import runpy
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.errors import InputError
from deixis.objectives.supervised import Supervised, SupervisedConfig
from deixis.system import Objective

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))


def batch() -> Batch:
    return next(tiny.batches().stream(0, 1))


def test_the_terms_are_those_of_the_systems_loss() -> None:
    objective = SupervisedConfig().build(tiny.Dot(), ())
    expected = objective.system.loss(batch(), objective.system(batch()))
    for terms in (objective.terms(batch(), 0), objective(batch(), 7)):
        torch.testing.assert_close(terms, expected)


def test_the_loss_reads_the_features_that_the_system_names_and_no_evidence_is_computed() -> None:
    class Asking(tiny.Dot):
        loss_features = ("visual", "query")

        def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
            assert not explain
            return super().forward(batch, features=features)

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            return {name: value.mean() for name, value in output.features.items()}

    objective = Supervised(Asking())
    assert objective.requires == ("visual", "query")
    assert set(objective.terms(batch(), 0)) == {"visual", "query"}


def test_the_loss_is_computed_in_single_precision_under_autocast() -> None:
    class Watched(tiny.Dot):
        loss_features = ("query",)

        def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
            assert not torch.is_autocast_enabled("cpu")
            assert output.logits.dtype == output.features["query"].dtype == torch.float32
            return super().loss(batch, output)

    with torch.autocast("cpu", torch.bfloat16):
        assert Supervised(Watched()).terms(batch(), 0)["mask"].dtype == torch.float32


def test_a_system_without_a_loss_is_refused() -> None:
    with pytest.raises(InputError, match="Linear has no loss of its own"):
        Supervised(nn.Linear(1, 1))


@pytest.mark.parametrize("name", ["supervised", "grounded", "contrastive", "adapting"])
def test_objectives_have_the_parts_that_training_uses(name: str) -> None:
    assert isinstance(tiny.objective(name), Objective)
