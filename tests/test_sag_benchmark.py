"""SaG's benchmark: what its floors predict, what its rows are trained from, and how its table names supervision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import sag
from benchmarks.sag_floors import CentrePrior, RandomEntity
from deixis.batch import Batch, Output
from deixis.records import MaskRule


class Quarters(nn.Module):
    """Four entities, each one quarter of the image."""

    def forward(self, batch: Batch, *, explain: bool = False) -> Output:
        maps = torch.zeros(len(batch), 4, 2, 2)
        for number in range(4):
            maps[:, number, number // 2, number % 2] = 1
        relevance = torch.full((len(batch), 4), 0.25)
        logits = torch.zeros(len(batch), *batch.images.shape[-2:])
        return Output(logits=logits, evidence={"entities": maps, "relevance": relevance})


def batch(count: int = 40, padding: int = 0) -> Batch:
    ids = torch.randint(1, 90, (count, 5), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([ids, torch.zeros(count, padding, dtype=torch.long)], 1)
    return Batch(images=torch.zeros(count, 1, 3, 16, 16), token_ids=ids, token_mask=ids > 0)


def test_the_random_entity_is_one_of_the_images_and_depends_on_the_words_alone() -> None:
    output = RandomEntity(Quarters())(batch())
    masks = np.stack([MaskRule(kind="min-max")(each) for each in output.logits.sigmoid().numpy()])
    corners = masks[:, [2, 2, 13, 13], [2, 13, 2, 13]]
    assert (corners.sum(1) == 1).all()
    assert set(corners.argmax(1)) == {0, 1, 2, 3}
    torch.testing.assert_close(RandomEntity(Quarters())(batch(padding=3)).logits, output.logits)


def test_the_centre_prior_is_a_disc_in_the_middle() -> None:
    given = batch(2)
    given = Batch(images=torch.zeros(2, 1, 3, 100, 100), token_ids=given.token_ids, token_mask=given.token_mask)
    logits = CentrePrior(Quarters())(given).logits
    mask = MaskRule(kind="min-max")(logits[0].sigmoid().numpy())
    assert torch.equal(logits[0], logits[1])
    assert mask[50, 50]
    np.testing.assert_array_equal(mask, mask[::-1, ::-1])
    assert mask.mean() == pytest.approx(np.pi * 2 * np.log(2) / 64, rel=0.05)  # half the height of a Gaussian


@pytest.mark.parametrize("training", [*sag.STARTS, *sag.ORDER])
def test_every_training_starts_from_what_was_trained_before(training: str) -> None:
    run = sag.run_of(training)
    expected = {"pictures": None, "base": "pictures", "sag-longer:0": "sag-0"}.get(training, "base")
    assert run.start_from.checkpoint == (expected and f"runs/sag/{expected}/last")
    assert run.data.labels == {"pictures": "pictures", "late-fusion:0": "masks"}.get(training, "none")


def test_variants_differ_in_what_they_say_and_seeds_in_the_seed_alone() -> None:
    from dataclasses import replace

    first = sag.run_of("sag:0")
    assert replace(sag.run_of("sag:2"), seed=0) == first
    for name in ("sag-t1", "sag-random", "sag-query"):
        run = sag.run_of(f"{name}:0")
        changes: dict[str, Any] = dict(sag.TRAININGS[name].system)
        assert run == replace(first, system=replace(first.system, **changes))


def test_the_table_prints_the_supervision_beside_each_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = {"value": 12.34, "low": 10.0, "high": 14.0}
    rows = {
        f"{row.table}/{row.name}": {
            "supervision": row.supervised_by,
            "scenes": 60,
            "expressions": 1300,
            **dict.fromkeys(sag.MEASURES, estimate),
        }
        for row in sag.scores()
    }
    monkeypatch.setattr(sag, "FILE", tmp_path / "sag.json")
    sag.FILE.write_text(json.dumps({"trainings": {}, "rows": rows}), encoding="utf-8")
    lines = sag.table().splitlines()
    assert any(line.startswith("| late fusion, masks | full masks | 60, 1,300 | 12.3 (10.0-14.0) |") for line in lines)
    assert any(line.startswith("| image centre | none |") for line in lines)
    assert any(line.startswith("| T = 1, retrained | sentences |") for line in lines)
