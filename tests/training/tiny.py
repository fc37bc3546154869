"""A system of forty weights and a world of coloured squares, for tests of the loop."""

import argparse
import itertools
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deixis import masks
from deixis.batch import Batch, Output
from deixis.data.batches import Batches, InOrder
from deixis.data.images import ImageArray
from deixis.data.transforms import Preprocess
from deixis.objectives.mask_grounding import GroundingConfig, MaskGrounding
from deixis.records import Ids, Sample
from deixis.training.loop import Result, train
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule

COLOURS = ("red", "green", "blue")
SIDE = 12


class Squares:
    """Images with one square of each colour; two sentences mean each."""

    def __init__(self, num_images: int = 8) -> None:
        self.ids = tuple(
            Ids(f"image{image}", f"thing{thing}", f"sentence{sentence}")
            for image in range(num_images)
            for thing in range(3)
            for sentence in range(2)
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Sample:
        image, thing, sentence = position // 6, position // 2 % 3, position % 2
        generator = np.random.default_rng(image)
        pixels = generator.integers(0, 40, (SIDE, SIDE, 3), dtype=np.uint8)
        rows = generator.permutation(3) * 4
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        for colour, row in enumerate(rows):
            column = int(generator.integers(0, 8))
            pixels[row : row + 4, column : column + 4, colour] = 220
            if colour == thing:
                mask[row : row + 4, column : column + 4] = True
        return Sample(
            visual=ImageArray(pixels),
            expression=COLOURS[thing] if sentence == 0 else f"the {COLOURS[thing]}",
            mask=masks.encode(mask),  # type: ignore[arg-type]
            ids=self.ids[position],
            dataset="squares",
            split="train",
        )


class Letters:
    """A tokenizer that knows four words."""

    def encode(self, expressions: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
        known = {word: number for number, word in enumerate(("the", *COLOURS), start=1)}
        rows = [[known[word] for word in text.split()][:max_tokens] for text in expressions]
        words = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        for row, numbers in enumerate(rows):
            words[row, : len(numbers)] = torch.tensor(numbers)
        return words, words > 0


class Dot(nn.Module):
    """Logit = the pixel's projection times the mean of the words; dropout makes it depend on random numbers."""

    def __init__(self, dropout: float = 0.0, width: int = 8) -> None:
        super().__init__()
        self.words = nn.Embedding(5, width)
        self.pixels = nn.Linear(3, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.unused = nn.Linear(1, 1)

    def forward(self, batch: Batch) -> Output:
        features = self.norm(self.pixels(batch.images[:, 0].permute(0, 2, 3, 1)))
        real = batch.token_mask[..., None].float()
        sentence = (self.words(batch.token_ids) * real).sum(1) / real.sum(1)
        return Output(logits=torch.einsum("bhwd,bd->bhw", batch.expand(self.dropout(features)), sentence))

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        assert batch.masks is not None
        return {"mask": nn.functional.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}


class Shown(Dot):
    """Shows its words and pixels, and knows a sixth word, which stands for one that is missing."""

    def __init__(self, dropout: float = 0.0, width: int = 8) -> None:
        super().__init__(dropout, width)
        self.words = nn.Embedding(6, width)

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        if torch.is_grad_enabled():
            pixels = batch.expand(self.pixels(batch.images[:, 0].permute(0, 2, 3, 1)))
            output.evidence.update({"words": self.words(batch.token_ids), "pixels": pixels})
        return output


def grounded(dropout: float = 0.0) -> MaskGrounding:
    config = GroundingConfig(probability=0.5, layers=1, width=8, heads=2, feed_forward=8, dropout=dropout)
    return MaskGrounding(Shown(dropout), config, ("[PAD]", "the", *COLOURS, "[MASK]"), 8, 8)


@dataclass(frozen=True)
class Publisher:
    """Writes the weights a user would get, and the scores beside them."""

    def __call__(self, folder: Path, weights: dict[str, Tensor], scores: dict[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, str(folder / "model.safetensors"))
        (folder / "scores.json").write_text(json.dumps(scores))


def batches(batch_size: int = 12, workers: int = 0) -> Batches:
    return Batches(
        reader=Squares(),
        tokenizer=Letters(),
        preprocess=Preprocess(image_size=SIDE),
        batch_size=batch_size,
        sentences_per_image=3,
        workers=workers,
    )


def held() -> InOrder:
    return InOrder(
        reader=Squares(3), tokenizer=Letters(), preprocess=Preprocess(image_size=SIDE), batch_size=4, limit=9
    )


def run(
    out: Path,
    *,
    steps: int = 12,
    accumulate: int = 1,
    dropout: float = 0.0,
    average: float | None = 0.9,
    clip: float | None = 1.0,
    lr: float = 0.05,
    save_every: int = 4,
    validate: bool = True,
    seed: int = 0,
    system: nn.Module | None = None,
) -> tuple[nn.Module, Result]:
    if system is None:
        torch.manual_seed(0)
        system = Dot(dropout)
    result = train(
        system,
        batches(),
        Optimiser(lr=lr, average=average, clip=clip, no_decay=("*norm.*",)),
        Schedule(
            steps=steps,
            batch_size=12,
            accumulate=accumulate,
            warm_up=2,
            log_every=4,
            validate_every=6,
            save_every=save_every,
        ),
        out=out,
        publish=Publisher(),
        validation=held() if validate else None,
        preprocess=Preprocess(image_size=SIDE),
        seed=seed,
        quiet=True,
    )
    return system, result


def steps_seen(out: Path) -> Iterator[int]:
    for line in (out / "journal.csv").read_text().splitlines()[1:]:
        yield int(line.split(",")[0])


def die_at_forward(number: int) -> None:
    """SIGKILL in the middle of a step."""
    forward, count = Dot.forward, itertools.count(1)

    def dying(self: Dot, batch: Batch) -> Output:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(self, batch)

    Dot.forward = dying  # type: ignore[method-assign]


def die_at_rename(number: int) -> None:
    """SIGKILL when the new state is written but does not stand in its place yet."""
    rename, count = os.replace, itertools.count(1)

    def dying(source: Path, target: Path) -> None:
        if Path(target).name == "state.pt" and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.replace = dying  # type: ignore[assignment]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--grounded", action="store_true")
    parser.add_argument("--die-at-forward", type=int)
    parser.add_argument("--die-at-rename", type=int)
    options = parser.parse_args()
    if options.die_at_forward:
        die_at_forward(options.die_at_forward)
    if options.die_at_rename:
        die_at_rename(options.die_at_rename)
    torch.manual_seed(0)
    trained = grounded(options.dropout) if options.grounded else None
    run(options.out, steps=options.steps, dropout=options.dropout, system=trained)
