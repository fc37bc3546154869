"""Two domains in one pass through a system, and what methods of adaptation compare: cells and words without padding.

`PairObjective` holds what those methods have in common whose terms come beside the source's own loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..batch import Batch, Domains, Output, Pair
from ..errors import InputError
from ..system import chosen_features
from .gather import gather


@dataclass(frozen=True)
class Domain:
    """A batch of one domain and the system's Output for it, in single precision."""

    batch: Batch
    output: Output

    def cells(self) -> Float[Tensor, "_ d"]:
        """The cells of `visual` that hold a part of a photo."""
        return torch.cat(cells(self.output.features["visual"], self.batch))

    def words(self) -> Float[Tensor, "_ d"]:
        """The rows of `query` of real words."""
        return words(self.output.features["query"], self.batch)


class PairObjective(nn.Module):
    """The terms of the system's own loss on the source, and a method's, which `alignment` computes from both domains.

    The config has `num_steps`, `most` and `seed`: the length over which weights grow, and how many rows are compared.
    """

    needs_whole_batch = True
    takes_unlabelled = False  # the source has masks, the target none
    takes_pairs = True

    def __init__(self, system: nn.Module, config: Any, features: tuple[str, ...] = ("visual", "query")) -> None:
        super().__init__()
        self.system: Any = system
        self.config = config
        self.requires: tuple[str, ...] = (*cast(Any, system).loss_features, *features)

    def alignment(self, source: Domain, target: Domain, step: int) -> dict[str, Tensor]:
        """Named, weighted terms."""
        raise NotImplementedError

    def forward(self, batch: Pair, step: int) -> dict[str, Tensor]:
        return self.terms(batch, step)

    def terms(self, batch: Pair, step: int) -> dict[str, Tensor]:
        output = self.system(joined(batch), features=self.requires)
        with torch.autocast(batch.source.images.device.type, enabled=False):
            source, target = parted(output.float(), len(batch.source))
            terms: dict[str, Tensor] = self.system.loss(batch.source, source)
            return terms | self.alignment(Domain(batch.source, source), Domain(batch.target, target), step)

    def ramp(self, step: int) -> float:
        return ramp(step, self.config.num_steps)

    def some(self, rows: Float[Tensor, "n d"], step: int) -> Float[Tensor, "_ d"]:
        """At most `most` of the rows of all processes, others in each step; validation's processes stay apart."""
        every = all_rows(rows) if self.training else rows
        return some_rows(every, self.config.most, self.config.seed + step)

    def widths(self, *features: str) -> list[int]:
        """Of the system's features. Raises `ModelError` where it lacks one."""
        known = {name: partial(int, width) for name, width in self.system.feature_widths.items()}
        return [*chosen_features(features, known, type(self.system).__name__).values()]

    def after_step(self, step: int) -> None:
        """Nothing follows a step."""

    def prepare(self, batches: Domains) -> None:
        """Nothing precedes the first step."""


def joined(pair: Pair) -> Batch:
    """The expressions of both domains, the source's first, as one batch without labels."""
    source, target = pair.source, pair.target
    length = max(source.token_ids.shape[1], target.token_ids.shape[1])
    domains = (source, target)
    starts = (0, len(source.images))
    return Batch(
        images=torch.cat([each.images for each in domains]),
        token_ids=torch.cat([F.pad(each.token_ids, (0, length - each.token_ids.shape[1])) for each in domains]),
        token_mask=torch.cat([F.pad(each.token_mask, (0, length - each.token_mask.shape[1])) for each in domains]),
        image_index=torch.cat([start + _index(each) for start, each in zip(starts, domains, strict=True)]),
        frames=torch.cat([_frames(each) for each in domains]),
    )


def parted(output: Output, count: int) -> tuple[Output, Output]:
    """The Output of the first `count` expressions and that of the others."""
    first, second = slice(None, count), slice(count, None)
    return _part(output, first), _part(output, second)


def photo_cells(batch: Batch, size: tuple[int, int]) -> Bool[Tensor, "b n"]:
    """The cells of a grid over the target frame that hold a part of the photo; its padding is 0 in every channel."""
    is_photo = (batch.target_frames() != 0).any(dim=1, keepdim=True).float()
    covered = rearrange(F.interpolate(is_photo, size=size, mode="area"), "i 1 y x -> i (y x)")
    return batch.expand(covered) > 0


def cells(visual: Float[Tensor, "b d y x"], batch: Batch) -> list[Float[Tensor, "_ d"]]:
    """The cells of each expression's map, without padding."""
    rows = rearrange(visual, "b d y x -> b (y x) d")
    is_photo = photo_cells(batch, (visual.shape[2], visual.shape[3]))
    return [row[real] for row, real in zip(rows, is_photo, strict=True)]


def words(query: Float[Tensor, "b _ d"], batch: Batch) -> Float[Tensor, "_ d"]:
    """The features of the real words of all expressions; `query` may be padded further than the batch."""
    return query[:, : batch.token_mask.shape[1]][batch.token_mask]


def all_rows(rows: Float[Tensor, "n d"]) -> Float[Tensor, "all d"]:
    """The rows of all processes, with gradients, of which each process may have another number."""
    counts = gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    if len(counts) == 1:
        return rows
    padded = gather(F.pad(rows, (0, 0, 0, max(counts) - len(rows)))[None])
    return torch.cat([part[:count] for part, count in zip(padded, counts, strict=True)])


def some_rows(rows: Float[Tensor, "n d"], most: int, seed: int) -> Float[Tensor, "_ d"]:
    """At most this many of the rows, drawn without replacement."""
    if len(rows) <= most:
        return rows
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most]
    return rows[drawn.to(rows.device)]


def ramp(step: int, num_steps: int | None) -> float:
    """2 / (1 + e^(-10 p)) - 1 of the fraction p of the training: from 0 to nearly 1 (Ganin and Lempitsky 2015)."""
    if num_steps is None:
        raise InputError("The objective's num_steps are None; outside of a Run, which fills them in, give a number.")
    return 2 / (1 + math.exp(-10 * min(step / num_steps, 1.0))) - 1


def _index(batch: Batch) -> Tensor:
    return torch.arange(len(batch), device=batch.images.device) if batch.image_index is None else batch.image_index


def _frames(batch: Batch) -> Tensor:
    if batch.frames is not None:
        return batch.frames
    count, length = batch.images.shape[:2]
    return torch.full((count,), length // 2, device=batch.images.device)


def _part(output: Output, rows: slice) -> Output:
    return replace(
        output,
        logits=output.logits[rows],
        presence=None if output.presence is None else output.presence[rows],
        features={name: _rows(value, rows) for name, value in output.features.items()},
    )


def _rows(value: Any, rows: slice) -> Any:
    return [_rows(each, rows) for each in value] if isinstance(value, Sequence) else value[rows]
