"""Scores during training, from exact pixel counts at the size of the batch, and a picture of some predictions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from .. import masks, viz
from ..batch import Batch, Output
from ..data.collate import LABELLED, check_labels
from ..data.transforms import Preprocess
from ..errors import InputError
from ..metrics.iou import iou, reaches
from ..records import MaskRule
from .processes import sum_over_processes

Masks = Bool[np.ndarray, "b h w"]
MASK_SCORES = ("mIoU", "oIoU", "P@0.5")


@torch.no_grad()  # not inference mode: what a system caches here may be used by a training step
def validate(
    objective: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    *,
    step: int = 0,
    mask_rule: MaskRule | None = None,
    show: Callable[[Batch, Masks], None] = lambda batch, predicted: None,
    with_loss: bool = True,
) -> dict[str, float]:
    """The scores of an objective and its system, over all processes: fractions from 0 to 1, and mean losses.

    `mIoU`, `oIoU` and `P@0.5` where there are masks, `loss` unless it cannot be computed from a Batch, and the
    objective's own `scores`. For the published protocols see `evaluation/`. `show` gets each batch with masks and its
    predicted masks.
    """
    is_training = objective.training
    objective.eval()
    sums: dict[str, float] = {"expressions": 0.0}
    for batch in batches:
        for name, number in _of_batch(objective, batch.to(device), step, mask_rule or MaskRule(), show, with_loss):
            sums[name] = sums.get(name, 0.0) + number
        sums["expressions"] += len(batch)
    objective.train(is_training)
    return _scores(sum_over_processes(sums))


def _of_batch(
    objective: Any,
    batch: Batch,
    step: int,
    mask_rule: MaskRule,
    show: Callable[[Batch, Masks], None],
    with_loss: bool,
) -> Iterator[tuple[str, float]]:
    """Sums over the expressions of a batch."""
    with _outputs(objective.system) as outputs:
        if with_loss:
            check_labels(batch, objective.takes_unlabelled)
            loss = torch.stack(list(objective.terms(batch, step).values())).sum()
            yield "mean/loss", float(loss) * len(batch)
        if hasattr(objective, "scores"):
            for name, score in objective.scores(batch).items():
                yield f"mean/{name}", float(score) * len(batch)
    if batch.masks is None:
        return
    seen = next((output for inputs, output in outputs if inputs[:1] and inputs[0] is batch), None)
    output = objective.system(batch) if seen is None else seen
    predicted = predicted_masks(output.logits, mask_rule)
    show(batch, predicted)
    labelled = batch.targets.get(LABELLED, torch.ones(len(batch), dtype=torch.bool)).cpu().numpy()
    yield from tally(predicted[labelled], batch.masks.cpu().numpy()[labelled]).items()


@contextmanager
def _outputs(system: nn.Module) -> Iterator[list[tuple[tuple[object, ...], Output]]]:
    """What the system reads and returns inside, so that a batch that the loss needs is not computed twice."""
    found: list[tuple[tuple[object, ...], Output]] = []
    handle = system.register_forward_hook(lambda _, inputs, output: found.append((inputs, output)))
    try:
        yield found
    finally:
        handle.remove()


def predicted_masks(logits: Float[Tensor, "b h w"], mask_rule: MaskRule) -> Masks:
    probabilities = logits.float().sigmoid().cpu().numpy()
    return np.stack([mask_rule(probability) for probability in probabilities])


def tally(predicted: Masks, target: Masks) -> dict[str, float]:
    """Numbers of masks and of those with an IoU of a half or more, and summed IoU, intersection and union.

    An empty prediction of an empty target counts 0, as in LAVT's published evaluation.
    """
    intersections, unions = (predicted & target).sum(axis=(1, 2)), (predicted | target).sum(axis=(1, 2))
    ious = [iou(int(one), int(two), both_empty=0.0) for one, two in zip(intersections, unions, strict=True)]
    return {
        "masks": float(len(ious)),
        "iou": sum(ious),
        "intersection": float(intersections.sum()),
        "union": float(unions.sum()),
        "half": float(sum(reaches(value, 0.5) for value in ious)),
    }


def _scores(sums: dict[str, float]) -> dict[str, float]:
    if not sums["expressions"]:
        raise InputError("The validation split has no expressions; choose another split.")
    scores = {}
    if count := sums.get("masks"):
        overall = sums["intersection"] / max(sums["union"], 1.0)
        scores = dict(zip(MASK_SCORES, (sums["iou"] / count, overall, sums["half"] / count), strict=True))
    for name, total in sums.items():
        if name.startswith("mean/"):
            scores[name.removeprefix("mean/")] = total / sums["expressions"]
    if not scores:
        raise InputError("Validation needs masks or a loss, but the split has no masks; choose another split.")
    return scores


class SampleGrid:
    """The first `count` predictions of a validation in one picture: the mask beside the predicted mask."""

    def __init__(self, preprocess: Preprocess, count: int = 12) -> None:
        self.preprocess = preprocess
        self.count = count
        self.panels: list[tuple[viz.Pixels, str]] = []

    def add(self, batch: Batch, predicted: Masks) -> None:
        room = self.count - len(self.panels)
        if batch.masks is None or room <= 0:
            return
        images = batch.expand(batch.target_frames())[:room].cpu().numpy()
        for image, target, found, expression in zip(
            images, batch.masks.cpu().numpy(), predicted, batch.expressions, strict=False
        ):
            pixels = self.preprocess.pixels(image)
            pair = [masks.paint(pixels, target, (64, 160, 255)), masks.paint(pixels, found)]
            self.panels.append((np.concatenate(pair, axis=1), expression))

    def save(self, path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
        """Write the picture and return its pixels; None, and no file, where there are no masks."""
        if not self.panels:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = viz.strip(self.panels, columns=2)
        picture.save(path)
        return np.asarray(picture.convert("RGB"))
