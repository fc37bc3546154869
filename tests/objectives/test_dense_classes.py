"""Dense classes: the weighted cross-entropy against a loop, the pixels that are compared, accuracies, and training."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deixis.batch import Batch
from deixis.data.batches import EvalBatches, TrainBatches
from deixis.data.transforms import Preprocess
from deixis.errors import InputError
from deixis.objectives.dense_classes import DenseClasses, DenseClassesConfig
from deixis.records import Sample
from deixis.training.loop import train
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "training" / "tiny.py")))


class Fixed(nn.Module):
    """Returns the logits that it was built with."""

    def __init__(self, **logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        assert images.ndim == 5
        return {name: each + self.weight for name, each in self.logits.items()}


def batch_with(**targets: Tensor) -> Batch:
    count = len(next(iter(targets.values())))
    tokens = torch.ones(count, 2, dtype=torch.long)
    return Batch(images=torch.zeros(count, 1, 3, 8, 8), token_ids=tokens, token_mask=tokens > 0, targets=targets)


def example() -> tuple[Fixed, Batch]:
    draw = torch.Generator().manual_seed(0)
    logits = {"kind": torch.randn(2, 3, 2, 2, generator=draw), "colour": torch.randn(2, 4, 2, 2, generator=draw)}
    targets = {
        name: torch.randint(0, each.shape[1], (2, 8, 8), generator=draw, dtype=torch.uint8)
        for name, each in logits.items()
    }
    return Fixed(**logits), batch_with(**targets)


@pytest.mark.parametrize("background", [0.3, 1.0])
def test_the_terms_are_loops_over_the_middle_of_each_cell(background: float) -> None:
    system, batch = example()
    terms = DenseClassesConfig(background_weight=background).build(system, ()).terms(batch, 0)
    assert set(terms) == {"kind", "colour"}
    for name, term in terms.items():
        total = weights = 0.0
        for image in range(2):
            for y in range(2):
                for x in range(2):
                    target = int(batch.targets[name][image, 4 * y + 2, 4 * x + 2])
                    weight = 1.0 if target else background
                    total -= weight * float(system.logits[name][image, :, y, x].log_softmax(0)[target])
                    weights += weight
        assert term.item() == pytest.approx(total / weights, rel=1e-5)


def test_the_accuracy_counts_the_pixels_outside_the_background() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, :, 0, 0] = torch.tensor([0.0, 5.0, 0.0])
    logits[0, :, 0, 1] = torch.tensor([0.0, 5.0, 0.0])
    logits[0, :, 1, 0] = torch.tensor([5.0, 0.0, 0.0])
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    target[0, :4, :4], target[0, :4, 4:] = 1, 2  # right and wrong; the lower half is background
    objective = DenseClasses(Fixed(kind=logits))
    assert objective.scores(batch_with(kind=target)) == {"accuracy/kind": torch.tensor(0.5)}
    empty = torch.zeros(1, 8, 8, dtype=torch.uint8)
    assert objective.scores(batch_with(kind=empty))["accuracy/kind"] == 0


def test_losses_are_computed_in_single_precision() -> None:
    system, batch = example()
    system.logits = {name: each.bfloat16() for name, each in system.logits.items()}
    with torch.autocast("cpu", torch.bfloat16):
        terms = DenseClasses(system.bfloat16()).terms(batch, 0)
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_samples_without_the_classes_are_refused_by_name() -> None:
    system, batch = example()
    lacking = replace(batch, targets={"kind": batch.targets["kind"]})
    with pytest.raises(InputError, match="predicts kind, colour, but the samples have no classes of colour"):
        DenseClasses(system).terms(lacking, 0)
    with pytest.raises(InputError, match="background_weight is -1"):
        DenseClassesConfig(background_weight=-1.0)


class Colours(tiny.Squares):
    """Squares with the class of each pixel's colour, without masks or words that matter."""

    def __getitem__(self, position: int) -> Sample:
        sample = super().__getitem__(position)
        pixels = sample.visual.read()[0]
        classes = np.where(pixels.max(-1) == 220, 1 + pixels.argmax(-1), 0).astype(np.uint8)
        return replace(sample, mask=None, targets={"colour": classes})


class Parser(nn.Module):
    """A linear layer on each cell's middle pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"colour": self.colour(images[:, 0, :, 2::4, 2::4])}


def test_it_is_trained_and_validated_by_the_one_loop(tmp_path: Path) -> None:
    torch.manual_seed(0)
    preprocess = Preprocess(image_size=tiny.SIDE)
    published: list[dict[str, float]] = []
    result = train(
        DenseClasses(Parser()),
        TrainBatches(reader=Colours(), tokenizer=tiny.Letters(), preprocess=preprocess, batch_size=8, draw="image"),
        Optimiser(lr=0.1),
        Schedule(steps=60, batch_size=8, validate_every=20, log_every=20),
        out=tmp_path,
        publish=lambda folder, weights, scores: published.append(scores) if folder.name == "best" else None,
        validation=EvalBatches(reader=Colours(3), tokenizer=tiny.Letters(), preprocess=preprocess, batch_size=4),
        quiet=True,
        choose_best="accuracy/colour",
    )
    assert set(result.scores or {}) == {"loss", "accuracy/colour"}
    assert result.scores is not None
    assert result.scores["accuracy/colour"] > 0.9
    assert result.best_by == "accuracy/colour"
    assert published[-1]["accuracy/colour"] == result.best
