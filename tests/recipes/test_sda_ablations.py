"""Every row of SDA's ablations: its Chain, and one step of the stages that it changes."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deixis.adapt.sda.categories import Clusters
from deixis.batch import Batch
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.recipes.sda import sda_refcoco_to_refcoco_plus
from deixis.recipes.sda_ablations import ABLATIONS, SAME_AS_FULL, ablation
from deixis.runs.run import Chain
from deixis.zoo.objectives import known_configs

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "adapt/sda/test_every_system.py")))
SOURCE = sda_refcoco_to_refcoco_plus().runs["source"]
PARTS = {
    "table-3/csm": {"predictor", "semantic"},
    "table-3/csm+cfb": {"predictor", "semantic", "sda"},
    "table-3/cfb+rrb": {"semantic", "sda"},
    "table-4/visual": {"semantic", "classifier", "sda"},
    "table-4/no-predictor": {"semantic", "classifier", "sda"},
    "table-5/no-reciprocal": {"predictor", "semantic", "sda"},
}
# Features of random weights are all alike: by a distance there is one category, and all or nothing is common.
ARBITRARY = {"table-4/visual", "table-7/encoded", "figure-5/0.01"}


# A row of each sweep is tested always, the others where slow tests are.
FIRST = ("table-6/k-means-10", "table-6/spectral-10", "table-8/10", "table-9/0.7-0.3", "figure-5/0.01", "figure-6/0.1")
SWEPT = ("table-6", "table-8", "table-9", "figure")
ROWS = [
    pytest.param(name, marks=[pytest.mark.slow] if name.startswith(SWEPT) and name not in FIRST else [])
    for name in ABLATIONS
    if name not in SAME_AS_FULL
]


def of_three_kinds(batch: Batch, kinds: tuple[int, int, int]) -> Batch:
    """Sentences whose second word is one of three."""
    ids = batch.token_ids.clone()
    ids[:, 1] = torch.tensor(kinds * 2)
    return replace(batch, token_ids=ids)


def system() -> Any:
    """Its three kinds of words have long vectors at right angles; other words have short ones."""
    torch.manual_seed(0)
    built = tiny.TINY["sda"].build()
    with torch.no_grad():
        built.text.words.weight.mul_(0.02)
        built.text.words.weight[4:8, :4] = 6 * torch.eye(4)
    return built


def test_the_rows_are_those_of_the_paper() -> None:
    counts = {"full": 1, "table-3": 4, "table-4": 5, "table-5": 5, "table-6": 8, "table-7": 1, "table-8": 4}
    counts |= {"table-9": 6, "figure-5": 11, "figure-6": 5, "figure-10": 5}
    found = [name.partition("/")[0] for name in ABLATIONS]
    assert {name: found.count(name) for name in dict.fromkeys(found)} == counts
    assert SAME_AS_FULL == ("table-8/100", "figure-5/0.2", "figure-6/0.5", "figure-10/0.5")
    with pytest.raises(InputError, match="no ablation 'table-3/cms'"):
        ablation("table-3/cms", SOURCE)


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_row_is_a_chain_that_is_stored_and_read_again(name: str) -> None:
    chain = ablation(name, SOURCE)
    assert chain.runs.keys() - {"source"} == PARTS.get(name, chain.runs.keys() - {"source"})
    assert from_dict(Chain, to_dict(chain), known=known_configs()) == chain
    published = ablation(name, SOURCE, "boundary-walk").runs
    assert ("affinity" in published) == ("classifier" in published)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.filterwarnings("ignore:k >= N")  # of SciPy: more clusters than the few samples here
def test_each_row_trains_for_one_step(name: str, tmp_path: Path) -> None:
    runs: Any = ablation(name, SOURCE).runs
    segmenter = system()
    source, target = of_three_kinds(tiny.SOURCE, (4, 5, 6)), of_three_kinds(tiny.TARGET, (4, 5, 7))
    pair = replace(tiny.PAIR, source=source, target=target)
    semantic = runs["semantic"].objective
    if name in ARBITRARY:
        categories = replace(semantic.categories, clusters=Clusters(method="k-means", count=3), boundary=None)
        semantic = replace(semantic, categories=categories)
    torch.manual_seed(1)
    tiny.store(
        tiny.WordWeighingConfig(segmenter=segmenter.config).build().predictor, tmp_path / "predictor", "predictor."
    )
    tiny.store(tiny.CLASSIFIER.build(), tmp_path / "classifier")
    second = semantic.build(segmenter, tiny.VOCABULARY)
    second.use_folders(tmp_path / "semantic", {"predictor": tmp_path / "predictor"})
    second.prepare(tiny.Domains(source=[source], target=[target]))
    step(second, pair)
    if "sda" not in runs:
        return
    config = replace(runs["sda"].objective, classifier=tiny.CLASSIFIER, activation=tiny.DUAL.activation)
    last = config.build(segmenter, tiny.VOCABULARY)
    last.use_folders(tmp_path / "sda", {each: tmp_path / each for each in ("semantic", "classifier")})
    last.prepare(tiny.Domains(source=[source], target=[target]))
    step(last, pair)


def step(objective: Any, pair: Any) -> None:
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=1e-3)
    terms = objective.train()(pair, 0)
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    objective.after_step(0)
    assert all(weight.isfinite().all() for weight in weights)
