"""A system of forty weights and a world of coloured squares, for tests of the loop."""

import argparse
import csv
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deixis import masks
from deixis.adapt.mmd import MMDConfig
from deixis.batch import Batch, Domains, Output, Pair
from deixis.data.batches import EvalBatches, PairedBatches, TrainBatches
from deixis.data.images import ImageArray
from deixis.data.transforms import Preprocess
from deixis.layers.gather import gather
from deixis.layers.moving_average import MovingAverage
from deixis.objectives.mask_grounding import MaskGrounding, MaskGroundingConfig
from deixis.objectives.supervised import Supervised
from deixis.records import Ids, Sample
from deixis.system import chosen_features
from deixis.training.loop import Result, train
from deixis.training.optim import Optimiser
from deixis.training.schedule import Schedule

COLOURS = ("red", "green", "blue")
VOCABULARY = ("[PAD]", "the", *COLOURS, "[MASK]")
SIDE = 12


class Squares:
    """Images with one square of each colour; two sentences refer to each. With `labelled=False` there are no masks."""

    def __init__(self, num_images: int = 8, *, labelled: bool = True) -> None:
        self.labelled = labelled
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
            mask=masks.encode(mask) if self.labelled else None,  # type: ignore[arg-type]
            ids=self.ids[position],
            dataset="squares",
            split="train",
        )


class Letters:
    """A tokenizer of four words."""

    def encode(self, expressions: list[str], max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [[VOCABULARY.index(word) for word in text.split()][:max_tokens] for text in expressions]
        token_ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for row, numbers in enumerate(rows):
            token_ids[row, : len(numbers)] = numbers
        return token_ids, token_ids > 0


class Dot(nn.Module):
    """Logit = the pixel's projection times the mean of the words; dropout makes it depend on random numbers."""

    loss_features: tuple[str, ...] = ()

    def __init__(self, dropout: float = 0.0, width: int = 8) -> None:
        super().__init__()
        self.feature_widths = {"query": width, "visual": width}
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.pixels = nn.Linear(3, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch, *, features: Iterable[str] = (), explain: bool = False) -> Output:
        pixels = self.pixels(batch.target_frames().permute(0, 2, 3, 1))
        query = self.words(batch.token_ids)
        is_word = batch.token_mask[..., None].float()
        sentence = (query * is_word).sum(1) / is_word.sum(1)
        normed = batch.expand(self.dropout(self.norm(pixels)))
        available: dict[str, Callable[[], Tensor]] = {
            "query": lambda: query,
            "visual": lambda: normed.permute(0, 3, 1, 2),
            "embeddings": lambda: sentence,
        }
        return Output(
            logits=torch.einsum("bhwd,bd->bhw", normed, sentence),
            features=chosen_features(features, available, "Dot"),
        )

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        assert batch.masks is not None
        return {"mask": nn.functional.binary_cross_entropy_with_logits(output.logits, batch.masks.float())}


class Idle(Dot):
    """Has weights that nothing depends on."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.unused = nn.Linear(1, 1)


class Contrastive(nn.Module):
    """Images against sentences, symmetric over the samples of all processes; learns without masks."""

    requires = ("visual", "embeddings")
    needs_whole_batch = True
    takes_unlabelled = True

    def __init__(self, system: nn.Module) -> None:
        super().__init__()
        self.system = system
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        features = self.system(batch, features=self.requires).features
        images, sentences = features["visual"].mean((2, 3)), features["embeddings"]
        if self.training:
            images, sentences = gather(images), gather(sentences)
        scores = self.scale * nn.functional.normalize(images) @ nn.functional.normalize(sentences).T
        target = torch.arange(len(scores), device=scores.device)
        cross_entropy = nn.functional.cross_entropy
        return {"contrast": (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2}

    def after_step(self, step: int) -> None:
        pass

    def prepare(self, batches: Iterable[Batch]) -> None:
        pass


class Adapting(nn.Module):
    """Masks of the source; on the target, the teacher's mean logits against a memory of features of the source.

    Has all that a resumed run must store: a teacher, a memory, and centres that are computed once before the training.
    """

    requires = ("visual",)
    needs_whole_batch = False
    takes_unlabelled = False
    takes_pairs = True

    def __init__(self, system: nn.Module, *, memory: int = 10) -> None:
        super().__init__()
        self.system = system
        self.teacher = MovingAverage(system)
        self.register_buffer("memory", torch.zeros(memory, 8))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("centres", torch.empty(0))
        self.memory: Tensor
        self.place: Tensor
        self.centres: Tensor
        self.latest: Tensor | None = None
        self.prepared = 0

    def forward(self, pair: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(pair, step)

    def terms(self, pair: Pair, step: int) -> dict[str, Tensor]:
        source = self.system(pair.source, features=self.requires)
        target = self.system(pair.target, features=self.requires)
        taught = self.teacher(pair.target).logits.sigmoid()
        self.latest = source.features["visual"].mean((2, 3)).detach()
        known = torch.cat([self.memory, self.centres])
        near = (target.features["visual"].mean((2, 3)) @ known.T).logsumexp(1).mean()
        weight = min(1.0, step / 10)  # a weight that depends on the step
        return {
            **self.system.loss(pair.source, source),  # type: ignore[operator]
            "taught": 0.1 * weight * (target.logits.sigmoid() - taught).square().mean(),
            "memory": 0.01 * near,
        }

    def after_step(self, step: int) -> None:
        self.teacher.update(self.system, 0.9)
        assert self.latest is not None
        for feature in self.latest:
            self.memory[int(self.place)] = feature
            self.place.add_(1).remainder_(len(self.memory))

    def prepare(self, batches: Domains) -> None:
        self.prepared += 1
        means = [
            self.system(batch, features=self.requires).features["visual"].mean((0, 2, 3)) for batch in batches.target
        ]
        self.centres = torch.stack(means).detach()


def grounded(dropout: float = 0.0) -> MaskGrounding:
    config = MaskGroundingConfig(probability=0.5, layers=1, width=8, heads=2, feed_forward=8, dropout=dropout)
    return config.build(Dot(dropout), VOCABULARY)


OBJECTIVES: dict[str, Callable[[float], nn.Module]] = {
    "supervised": lambda dropout: Supervised(Dot(dropout)),
    "idle": lambda dropout: Supervised(Idle(dropout)),
    "grounded": grounded,
    "contrastive": lambda dropout: Contrastive(Dot(dropout)),
    "mmd": lambda dropout: MMDConfig(num_steps=12).build(Dot(dropout), VOCABULARY),
    "adapting": lambda dropout: Adapting(Dot(dropout)),
}


def objective(name: str, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return OBJECTIVES[name](dropout)


@dataclass(frozen=True)
class Publisher:
    """Writes the weights a user would get, and the scores beside them."""

    def __call__(self, folder: Path, weights: dict[str, Tensor], scores: dict[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, str(folder / "model.safetensors"))
        (folder / "scores.json").write_text(json.dumps(scores))


def batches(batch_size: int = 12, workers: int = 0, **changes: Any) -> TrainBatches:
    settings = {"sentences_per_image": 3} | changes
    return TrainBatches(
        reader=Squares(),
        tokenizer=Letters(),
        preprocess=Preprocess(image_size=SIDE),
        batch_size=batch_size,
        workers=workers,
        **settings,
    )


def pairs() -> PairedBatches:
    """24 objects with masks beside 15 without, in steps of 6 and 6."""
    target = replace(batches(6, seed=3, labels="none"), reader=Squares(5))
    return PairedBatches(batches(6), target)


def held(**changes: Any) -> EvalBatches:
    settings = {"reader": Squares(3), "batch_size": 4, "limit": 9} | changes
    return EvalBatches(tokenizer=Letters(), preprocess=Preprocess(image_size=SIDE), **settings)


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
    validation: EvalBatches | None = None,
    seed: int = 0,
    system: nn.Module | None = None,
    trained: nn.Module | None = None,
    data: Any = None,
    choose_best: str = "mIoU",
    quiet: bool = True,
) -> tuple[nn.Module, Result]:
    """Train `trained`, or `system` with its own loss; returns the system."""
    if trained is None:
        trained = objective("supervised", dropout) if system is None else Supervised(system)
    result = train(
        trained,
        batches() if data is None else data,
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
        validation=validation or held(),
        preprocess=Preprocess(image_size=SIDE),
        seed=seed,
        quiet=quiet,
        choose_best=choose_best,
    )
    return trained.system, result  # type: ignore[return-value]


def data_of(name: str) -> Any:
    if name == "contrastive":
        return batches(sentences_per_image=1, labels="none")
    return pairs() if name in {"adapting", "mmd"} else batches()


def steps_seen(out: Path) -> Iterator[int]:
    """Without the marks of where the run was resumed."""
    with (out / "metrics.csv").open(newline="") as file:
        yield from (int(row["step"]) for row in csv.DictReader(file) if not row.get("resumed"))


def die_at_step(number: int) -> None:
    """SIGKILL in the middle of a step: after the update of the weights, before what follows it."""
    step, count = torch.optim.AdamW.step, itertools.count(1)

    def dying(self: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        result = step(self, *arguments, **options)
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    torch.optim.AdamW.step = dying  # type: ignore[method-assign]


def die_at_forward(number: int) -> None:
    """SIGKILL in the middle of a step."""
    forward, count = Dot.forward, itertools.count(1)

    def dying(self: Dot, batch: Batch, **options: Any) -> Output:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(self, batch, **options)

    Dot.forward = dying  # type: ignore[method-assign]


def die_at_rename(number: int) -> None:
    """SIGKILL when the new state is written but not yet in its place."""
    rename, count = os.replace, itertools.count(1)

    def dying(source: Path, target: Path) -> None:
        if Path(target).name == "state.safetensors" and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.replace = dying  # type: ignore[assignment]


def main(arguments: list[str]) -> None:
    """One run of a training, as the options say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--save-every", type=int, default=4)
    parser.add_argument("--no-clip", action="store_true")
    parser.add_argument("--objective", default="supervised", choices=OBJECTIVES)
    parser.add_argument("--die-at-step", type=int)
    parser.add_argument("--die-at-forward", type=int)
    parser.add_argument("--die-at-rename", type=int)
    options = parser.parse_args(arguments)
    if options.die_at_step:
        die_at_step(options.die_at_step)
    if options.die_at_forward:
        die_at_forward(options.die_at_forward)
    if options.die_at_rename:
        die_at_rename(options.die_at_rename)
    run(
        options.out,
        steps=options.steps,
        save_every=options.save_every,
        dropout=options.dropout,
        clip=None if options.no_clip else 1.0,
        trained=objective(options.objective, options.dropout),
        data=data_of(options.objective),
    )


def main_of_several(arguments: list[str]) -> None:
    """One run after the other, each as `main`, with + between their arguments."""
    for job in " ".join(arguments).split(" + "):
        main(job.split(" "))
