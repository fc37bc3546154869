"""The pre-training of Toyland's systems: their Swin learns to parse drawn scenes before it hears a word.

`python examples/pretrain_vision.py PACKED OUT` runs it; `late_fusion_toyland` starts from its file, the other systems'
toyland recipes from pointing. On a GPU where there is one; killed and called again, it goes on, and ends as if it had
not been stopped.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..checkpoints.configs import to_dict
from ..data.transforms import Preprocess
from ..errors import InputError
from ..files import replaced
from ..models.scene_parsing import SceneParsing, SceneParsingConfig
from ..toyland.packed import BACKGROUND, PackedToyland
from ..toyland.scene.kinds import KINDS
from ..toyland.scene.scenes import COLOURS, PATTERNS, SIZES
from ..training.optim import Optimiser, build
from ..training.state import State, seed_step
from ..vision.swin import SwinConfig

ATTRIBUTES: dict[str, tuple[str, ...]] = {"kind": KINDS, "colour": COLOURS, "size": SIZES, "pattern": PATTERNS}
STRIDE = 4
SAVE_EVERY = 250  # steps

TOYLAND_VISION = SwinConfig(
    embed_dim=32, depths=(2, 2, 4, 2), heads=(1, 2, 4, 8), window=8, drop_path=0.05, coordinates=True
)


PARSING_OPTIMISER = Optimiser(lr=2e-3, matrix_lr=0.02, weight_decay=0.05, clip=1.0)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How long, how fast, on pictures of which side; one-cycle rates, Muon's for the matrices."""

    vision: SwinConfig = TOYLAND_VISION
    steps: int = 3000
    batch_size: int = 16
    side: int = 128
    optimiser: Optimiser = PARSING_OPTIMISER
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    seed: int = 0
    start: str = ""  # an earlier `vision.safetensors` to go on from


class Parsed(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Packed scenes with the class of every attribute at every fourth pixel.

    None is mirrored: a Swin that sees mirrored scenes unlearns to tell left from right.
    """

    def __init__(self, scenes: PackedToyland, side: int) -> None:
        self.scenes = scenes
        self.preprocess = Preprocess(image_size=side)

    def __len__(self) -> int:
        return self.scenes.num_scenes

    def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.preprocess.image(self.scenes.pixels(position)), self.classes(position)

    def classes(self, position: int) -> dict[str, Tensor]:
        """Per attribute, at each patch: 0 for background, 1 + the value's place in `ATTRIBUTES` for a thing."""
        owner = self.scenes.instances(position)
        step = STRIDE * owner.shape[0] // self.preprocess.image_size
        owner = owner[step // 2 :: step, step // 2 :: step]
        things = self.scenes.things(position)
        maps = {}
        for name, values in ATTRIBUTES.items():
            table = np.zeros(BACKGROUND + 1, dtype=np.int64)
            table[: len(things)] = [1 + values.index(thing[name]) for thing in things]
            maps[name] = torch.from_numpy(table[owner])
        return maps


def pretrain(settings: Pretraining, packed: Path, out: Path, report: Callable[[int, dict[str, float]], None]) -> Path:
    """Train, tell `report` losses and accuracies every 50 steps, and write `out/vision.safetensors`.

    Raises `DeixisError` where `out` holds the unfinished work of other settings or scenes.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(settings.seed)
    attributes = tuple((name, len(values)) for name, values in ATTRIBUTES.items())
    parser = SceneParsing(SceneParsingConfig(vision=settings.vision, attributes=attributes)).to(device)
    if settings.start:
        parser.load_state_dict(load_file(settings.start), strict=False)
    narrow = settings.precision == "bf16"
    optimiser = build(parser, settings.optimiser, torch.bfloat16 if narrow else torch.float32)
    peaks = [group["base_lr"] for group in optimiser.param_groups]
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=settings.steps, pct_start=0.05)
    _describe(settings, packed, out)
    state = out / "state.pt"
    done = 0
    if state.exists():
        kept = State.load(state)
        done = kept.step
        parser.load_state_dict(kept.weights)
        rate.load_state_dict(kept.optimiser.pop("rate"))
        optimiser.load_state_dict(kept.optimiser)
    for step, (images, targets) in enumerate(_batches(settings, packed, done), start=done + 1):
        seed_step(settings.seed, step, rank=0)
        targets = {name: each.to(device) for name, each in targets.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            logits = parser(images.to(device))
        logits = {name: one.float() for name, one in logits.items()}
        terms = parser.loss(logits, targets)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        if settings.optimiser.clip is not None:
            torch.nn.utils.clip_grad_norm_(parser.parameters(), settings.optimiser.clip)
        optimiser.step()
        rate.step()
        if step % 50 == 0 or step == settings.steps:
            losses = {name: term.item() for name, term in terms.items()}
            report(step, losses | _accuracies(logits, targets))
        if step % SAVE_EVERY == 0 and step < settings.steps:
            weights, progress = parser.state_dict(), optimiser.state_dict() | {"rate": rate.state_dict()}
            State(step=step, weights=weights, optimiser=progress, average=None, scaler=None, best=None).save(state)
    _save(parser, out)
    state.unlink(missing_ok=True)
    return out / "vision.safetensors"


def _describe(settings: Pretraining, packed: Path, out: Path) -> None:
    """Say beside the weights how they were made; what was begun otherwise is not gone on with."""
    described = json.dumps({"packed": str(packed), **to_dict(settings)}, indent=1)
    told = out / "pretraining.json"
    if (out / "state.pt").exists() and (not told.exists() or told.read_text(encoding="utf-8") != described):
        raise InputError(
            f"{out} holds unfinished work of other settings or scenes; give those, another folder, or remove it."
        )
    with replaced(told) as beside:
        beside.write_text(described, encoding="utf-8")


def _batches(settings: Pretraining, packed: Path, done: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """From the step after `done`; which scenes a step sees is a matter of the seed alone."""
    data = Parsed(PackedToyland(packed), settings.side)
    draw = torch.Generator().manual_seed(settings.seed)
    order = torch.randint(len(data), (settings.steps * settings.batch_size,), generator=draw)
    sampler = order[done * settings.batch_size :].tolist()
    return iter(DataLoader(data, settings.batch_size, sampler=sampler, num_workers=settings.workers))


def _accuracies(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, float]:
    """The share of the things' pixels whose attribute is right."""
    shares = {}
    for name, target in targets.items():
        inside = target > 0
        shares[f"{name} right"] = (logits[name].argmax(1)[inside] == target[inside]).float().mean().item()
    return shares


def _save(parser: SceneParsing, out: Path) -> None:
    weights = {name: value for name, value in parser.state_dict().items() if name.startswith("vision.")}
    with replaced(out / "vision.safetensors") as beside:
        save_file(weights, beside)
