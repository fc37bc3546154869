"""Scores during training, by exact pixel counts at the batch's own size, and pictures of what was predicted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from PIL import Image, ImageDraw
from torch import Tensor, nn

from .. import masks
from ..batch import Batch, Output
from ..data.transforms import Preprocess
from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Shares from 0 to 1; the training loop's own, for the published protocols see the evaluator."""

    miou: float
    oiou: float
    p50: float


def tally(logits: Float[Tensor, "b h w"], target: Bool[Tensor, "b h w"]) -> Float64[Tensor, " 5"]:
    """Number of expressions, summed IoU, summed intersection, summed union, number with IoU of a half or more.

    An empty prediction of an empty target counts 0, as in LAVT's published evaluation.
    """
    predicted = logits > 0
    pixels = torch.stack([(predicted & target).sum(dim=(1, 2)), (predicted | target).sum(dim=(1, 2))])
    intersection, union = pixels.cpu().double()  # an Apple GPU knows no float64
    iou = intersection / union.clamp(min=1)
    count = torch.tensor(float(len(iou)), dtype=torch.float64)
    return torch.stack([count, iou.sum(), intersection.sum(), union.sum(), (iou >= 0.5).double().sum()])


@torch.no_grad()  # not inference mode: what a system caches here may serve a training step
def validate(
    system: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    add_up: Callable[[Tensor], Tensor],
    show: Callable[[Batch, Output], None],
) -> Scores:
    """Score the system as it stands; `add_up` sums over processes, `show` sees every batch with its output."""
    training = system.training
    system.eval()
    total = torch.zeros(5, dtype=torch.float64)
    for batch in batches:
        placed = batch.to(device)
        if placed.masks is None:
            raise InputError("Validation needs masks, but a sample of the split has none; choose another split.")
        output = system(placed)
        total += tally(output.logits.float(), placed.masks)
        show(placed, output)
    system.train(training)
    count, iou, intersection, union, half = add_up(total).tolist()
    if not count:
        raise InputError("The validation split has no expressions; choose another split.")
    return Scores(miou=iou / count, oiou=intersection / max(union, 1.0), p50=half / count)


class Album:
    """The first `count` predictions of a validation as one picture: what was meant, beside what was found."""

    def __init__(self, preprocess: Preprocess, count: int = 12) -> None:
        self.preprocess = preprocess
        self.count = count
        self.pages: list[UInt8[np.ndarray, "h w 3"]] = []

    def show(self, batch: Batch, output: Output) -> None:
        for position in range(min(len(batch), self.count - len(self.pages))):
            if batch.masks is None:
                return
            image_of = position if batch.image_index is None else int(batch.image_index[position])
            clip = batch.images[image_of]
            image = self.preprocess.pixels(clip[len(clip) // 2].float().cpu().numpy())
            target = batch.masks[position].cpu().numpy()
            found = (output.logits[position] > 0).cpu().numpy()
            pair = np.concatenate([masks.paint(image, target, (64, 160, 255)), masks.paint(image, found)], axis=1)
            words = batch.expressions[position] if batch.expressions else ""
            self.pages.append(_captioned(pair, words))

    def save(self, path: Path) -> None:
        if not self.pages:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = 2 if len(self.pages) > 1 else 1
        blank = np.full_like(self.pages[0], 255)
        pages = [*self.pages, *[blank] * (-len(self.pages) % columns)]
        rows = [np.concatenate(pages[at : at + columns], axis=1) for at in range(0, len(pages), columns)]
        Image.fromarray(np.concatenate(rows)).save(path)


def _captioned(picture: UInt8[np.ndarray, "h w 3"], words: str) -> UInt8[np.ndarray, "height w 3"]:
    height, width = picture.shape[:2]
    page = Image.new("RGB", (width, height + 16), "white")
    page.paste(Image.fromarray(picture), (0, 16))
    ImageDraw.Draw(page).text((3, 2), words.encode("ascii", "replace").decode(), fill="black")
    return np.asarray(page)
