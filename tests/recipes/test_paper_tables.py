"""Every row of VEGA's and MagNet's tables: its Run, and one step at a tiny size."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from deixis.batch import Batch
from deixis.checkpoints.configs import from_dict, to_dict
from deixis.errors import InputError
from deixis.objectives.mask_grounding import MaskGroundingConfig
from deixis.objectives.supervised import SupervisedConfig
from deixis.recipes.catalogue import RECIPES, recipe_named
from deixis.recipes.paper_tables import FULL, MAGNET_ROWS, VEGA_ROWS, rows_of, same_as_full
from deixis.runs.run import Chain
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from deixis.zoo.objectives import known_configs

SYSTEMS = {"vega": VEGA_ROWS, "magnet": MAGNET_ROWS}
NAMES = [(system, name) for system, rows in SYSTEMS.items() for name in rows]
DIFFERENT = [(system, name) for system, name in NAMES if name not in same_as_full(SYSTEMS[system])]
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(11)))
VISION = SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=2, drop_path=0.0)
SIZES: dict[str, dict[str, Any]] = {
    "vega": {"width": 8, "heads": 1, "decoder_widths": (8, 8, 8)},
    "magnet": {
        "width": 32,
        "mask_width": 8,
        "heads": 1,
        "pixel_layers": 1,
        "pixel_feed_forward": 8,
        "query_layers": 1,
        "query_feed_forward": 8,
    },
}


def of(job: Any) -> Any:
    """The Run that a recipe trains last."""
    return list(job.runs.values())[-1] if isinstance(job, Chain) else job


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(0)
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[:, 16:48, :32] = True
    token_ids = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
    return Batch(images=torch.randn(2, 1, 3, 64, 64), token_ids=token_ids, token_mask=token_ids > 0, masks=masks)


def test_the_rows_are_those_of_the_papers() -> None:
    counts = {FULL: 1, "table-2": 3, "table-3a": 3, "table-3b": 4, "table-4a": 2, "table-4b": 2, "table-4c": 2}
    counts |= {"table-4d": 3, "table-4e": 2, "table-6": 8}
    tables = [name.partition("/")[0] for name in VEGA_ROWS]
    assert {table: tables.count(table) for table in dict.fromkeys(tables)} == counts
    assert len(DIFFERENT) == 21 + 17
    assert same_as_full(MAGNET_ROWS) == ("probability/0.15", "encoder/centre")
    # A table repeats the full method with the score of its last digit.
    assert {VEGA_ROWS[name].published["oIoU"] for name in same_as_full(VEGA_ROWS)} == {75.35}
    assert VEGA_ROWS["table-4d/all"].published == {"mIoU": 76.22, "oIoU": 75.14}


@pytest.mark.parametrize(("system", "name"), NAMES)
def test_a_row_changes_its_fields_alone_on_published_data_and_on_toyland(system: str, name: str) -> None:
    row = SYSTEMS[system][name]
    for recipe in (f"{system}-refcoco", f"{system}-toyland"):
        job = recipe_named(f"{recipe}/{name}")
        assert from_dict(type(job), json.loads(json.dumps(to_dict(job))), known=known_configs()) == job
        run, full = of(job), of(recipe_named(recipe))
        expected = replace(full, system=replace(full.system, **row.system), description=run.description)
        if row.grounding is None:
            expected = replace(expected, objective=SupervisedConfig())
        elif row.grounding:
            expected = replace(expected, objective=replace(full.objective, **row.grounding))
        assert run == expected
        if isinstance(job, Chain):
            assert list(job.runs.values())[:-1] == list(recipe_named(recipe).runs.values())[:-1]  # type: ignore[union-attr]


@pytest.mark.parametrize(("system", "name"), DIFFERENT)
def test_each_row_trains_for_one_step(system: str, name: str, batch: Batch) -> None:
    run = of(recipe_named(f"{system}-refcoco/{name}"))
    text = BertConfig(layers=4, width=8, heads=1, feed_forward=8, vocabulary=len(VOCABULARY), positions=20)
    objective: Any = run.objective
    if isinstance(objective, MaskGroundingConfig):
        objective = replace(objective, layers=1, width=8, heads=1, feed_forward=8)
    torch.manual_seed(1)
    trained = objective.build(replace(run.system, vision=VISION, text=text, **SIZES[system]).build(), VOCABULARY)
    optimiser = torch.optim.SGD(trained.parameters(), lr=1e-3)
    terms = trained.train()(batch, 0)
    assert ("grounding" in terms) == isinstance(objective, MaskGroundingConfig)
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    assert all(weight.isfinite().all() for weight in trained.parameters())


def test_an_unknown_row_is_named_with_the_nearest_and_other_recipes_have_none() -> None:
    with pytest.raises(InputError, match=r"no row 'table-2/word' of this recipe\. Did you mean 'table-2/words'"):
        recipe_named("vega-refcoco/table-2/word")
    with pytest.raises(InputError, match="VEGA's and MagNet's recipes have rows"):
        recipe_named("lavt-refcoco/table-2/words")
    last = [of(recipe()) for recipe in RECIPES.values()]
    assert {type(run.system).__name__ for run in last if rows_of(run)} == {"VEGAConfig", "MagNetConfig"}
