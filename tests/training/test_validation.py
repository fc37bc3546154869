"""The loop's scores against loops over pixels, with and without masks, and the pictures that it stores."""

import runpy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.objectives.supervised import Supervised
from deixis.records import Ids, MaskRule
from deixis.training import validation
from deixis.training.validation import SampleGrid, predicted_masks, tally, validate

apple = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "apple.py")))
CPU = torch.device("cpu")


def test_the_tally_equals_a_loop_over_pixels() -> None:
    draw = np.random.default_rng(0)
    predicted, target = draw.random((6, 5, 4)) > 0.5, draw.random((6, 5, 4)) > 0.4
    target[0], predicted[1], target[2], predicted[2] = predicted[0], False, False, False  # equal, nothing, both empty
    expected = np.zeros(5)
    for found, meant in zip(predicted, target, strict=True):
        both = sum(bool(a and b) for a, b in zip(found.flat, meant.flat, strict=True))
        either = sum(bool(a or b) for a, b in zip(found.flat, meant.flat, strict=True))
        iou = both / either if either else 0.0
        expected += [1, iou, both, either, iou >= 0.5]
    sums = tally(predicted, target)
    found_sums = [sums[name] for name in ("masks", "iou", "intersection", "union", "half")]
    np.testing.assert_allclose(found_sums, expected, rtol=1e-12)


def test_masks_follow_the_rule_and_an_apple_gpu_needs_no_float64() -> None:
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(predicted_masks(logits, MaskRule()), (logits > 0).numpy())
    quarter = MaskRule(threshold=0.25)
    assert np.array_equal(predicted_masks(logits, quarter), (logits > np.log(0.25 / 0.75)).numpy())
    assert np.array_equal(predicted_masks(apple.on_apple(logits), MaskRule()), (logits > 0).numpy())


class Echo(nn.Module):
    """Returns its image's red channel; its loss is the mean of it."""

    loss_features: tuple[str, ...] = ()
    forwards = 0

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        self.forwards += 1
        return Output(logits=batch.images[:, 0, 0])

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {"half": output.logits.mean() / 2, "other": output.logits.mean() / 2}


def batch(size: int = 2, *, labelled: bool = True, value: float = 1.0) -> Batch:
    """The mask is the upper half, where the image's value is `value`; it is -1 elsewhere."""
    masks = torch.zeros(size, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    return Batch(
        images=torch.where(masks, value, -1.0)[:, None, None].expand(-1, 1, 3, -1, -1).contiguous(),
        token_ids=torch.ones(size, 2, dtype=torch.long),
        token_mask=torch.ones(size, 2, dtype=torch.bool),
        masks=masks if labelled else None,
        expressions=("the upper half ☺",) * size,
        ids=(),
    )


def test_a_perfect_system_scores_one_keeps_its_mode_and_runs_once_per_batch() -> None:
    objective, shown = Supervised(Echo()).train(), []
    scores = validate(objective, [batch(2), batch(3)], CPU, show=lambda of, predicted: shown.append(predicted.shape))
    assert scores == {"mIoU": 1.0, "oIoU": 1.0, "P@0.5": 1.0, "loss": 0.0}
    assert shown == [(2, 8, 8), (3, 8, 8)]
    assert objective.training
    assert objective.system.training
    assert objective.system.forwards == 2


def test_the_loss_is_the_mean_over_expressions() -> None:
    scores = validate(Supervised(Echo()), [batch(1, value=3.0), batch(3)], CPU)
    assert scores["loss"] == pytest.approx((1 * 1.0 + 3 * 0.0) / 4)


def test_a_rule_decides_the_masks_that_are_scored() -> None:
    certain = MaskRule(threshold=0.9)  # above the probability of every pixel
    assert validate(Supervised(Echo()), [batch()], CPU, mask_rule=certain)["mIoU"] == 0.0
    relative = MaskRule(kind="min-max")
    assert validate(Supervised(Echo()), [batch(value=-0.5)], CPU, mask_rule=relative)["mIoU"] == 1.0


def test_an_output_for_a_changed_batch_is_not_scored() -> None:
    class Corrupting(Supervised):
        def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
            return super().terms(replace(batch, images=-batch.images), step)

    objective = Corrupting(Echo())
    assert validate(objective, [batch()], CPU)["mIoU"] == 1.0
    assert objective.system.forwards == 2


def test_sums_over_processes_are_what_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_failing_neighbour(sums: dict[str, float]) -> dict[str, float]:
        neighbour = {"expressions": 2.0, "masks": 2.0, "union": 64.0, "mean/loss": 4.0}
        return {name: value + neighbour.get(name, 0.0) for name, value in sums.items()}

    monkeypatch.setattr(validation, "sum_over_processes", with_a_failing_neighbour)
    scores = validate(Supervised(Echo()), [batch(2)], CPU)
    assert scores == {"mIoU": 0.5, "oIoU": 0.5, "P@0.5": 0.5, "loss": 1.0}


def test_without_masks_there_is_a_loss_alone() -> None:
    assert validate(Supervised(Echo()), [batch(labelled=False)], CPU) == {"loss": 0.0}


def test_of_a_mixed_batch_the_labelled_samples_are_scored() -> None:
    mixed = replace(batch(2), ids=(Ids("a", "b", "c"),) * 2, targets={"labelled": torch.tensor([True, False])})
    mixed.masks[1] = False  # type: ignore[index]
    objective = Supervised(Echo())
    with pytest.raises(InputError, match="mixes samples with and without masks"):
        validate(objective, [mixed], CPU)
    objective.takes_unlabelled = True
    assert validate(objective, [mixed], CPU)["mIoU"] == 1.0


def test_the_scores_of_an_objective_are_means_over_expressions() -> None:
    class Scoring(Supervised):
        def scores(self, batch: Batch) -> dict[str, Tensor]:
            return {"size": torch.tensor(float(len(batch)))}

    assert validate(Scoring(Echo()), [batch(1), batch(3)], CPU)["size"] == pytest.approx((1 + 9) / 4)


def test_validation_without_expressions_or_anything_to_score_is_refused() -> None:
    with pytest.raises(InputError, match="no expressions"):
        validate(Supervised(Echo()), [], CPU)
    with pytest.raises(InputError, match="needs masks or a loss"):
        validate(Supervised(Echo()), [batch(labelled=False)], CPU, with_loss=False)


def test_a_grid_shows_the_first_predictions_in_two_columns(tmp_path: Path) -> None:
    grid = SampleGrid(Preprocess(image_size=8), count=3)
    for _ in range(2):
        grid.add(batch(2), np.ones((2, 8, 8), dtype=bool))
    assert [(panel.shape, caption) for panel, caption in grid.panels] == [((8, 16, 3), "the upper half ☺")] * 3
    path = tmp_path / "samples" / "one.png"
    grid.save(path)
    with Image.open(path) as picture:
        assert picture.width > picture.height


def test_an_empty_grid_writes_nothing(tmp_path: Path) -> None:
    SampleGrid(Preprocess()).save(tmp_path / "one.png")
    assert not list(tmp_path.iterdir())
