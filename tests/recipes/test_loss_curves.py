"""Twenty steps of every Toyland recipe at a tiny size, against stored losses: a change of training is seen at once.

The losses are compared exactly on one thread where the processor and the version of PyTorch are those that they were
stored with; elsewhere to 1e-3 over the first five steps. `python tests/recipes/test_loss_curves.py` stores
them anew, which only a deliberate change of training justifies.
"""

import csv
import json
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deixis.recipes.catalogue import RECIPES
from deixis.runs.execute import execute
from deixis.runs.run import LEARNED, Chain, Run, StartFrom
from deixis.vision.swin import SwinConfig
from deixis.vision.vit import ViTConfig

STORED = Path(__file__).with_name("loss_curves.json")
NAMES = sorted(name for name in RECIPES if name.endswith("_toyland") or "_toyland_" in name)
STEPS, CLOSE_STEPS, CLOSE = 20, 5, 1e-3
VISION = SwinConfig(embed_dim=16, depths=(1, 1, 2, 1), heads=(1, 2, 2, 4), window=4, drop_path=0.05, coordinates=True)
VIT = ViTConfig(layers=1, width=16, heads=2, patch=8, grid=8, drop_path=0.0)
SMALL: dict[str, dict[str, Any]] = {
    "LateFusionConfig": {"width": 32},
    "LAVTConfig": {"decoder_width": 16},
    "MagNetConfig": {
        "width": 32,
        "mask_width": 32,
        "heads": 2,
        "pixel_layers": 1,
        "pixel_feed_forward": 32,
        "query_layers": 2,
        "query_feed_forward": 32,
    },
    "MaskedAutoencoderConfig": {"layers": 1, "width": 24, "heads": 2},
    "SaGConfig": {"width": 16, "gaussians": 3, "head_width": 4, "interaction_head_width": 4, "fusion_head_width": 4},
    "SceneParsingConfig": {"width": 16},
    "VEGAConfig": {"width": 32, "heads": 2, "decoder_widths": (16, 16, 32)},
}


def tiny(name: str, packed: Path) -> Run:
    """The recipe's last Run, small enough for a second; encoders start from random weights."""
    recipe = RECIPES[name]()
    run: Any = list(recipe.runs.values())[-1] if isinstance(recipe, Chain) else recipe
    vision: Any = VIT if isinstance(run.system.vision, ViTConfig) else VISION
    system = replace(run.system, vision=vision, **SMALL[type(run.system).__name__])
    if getattr(system, "vit", None) is not None:
        system = replace(system, vit=VIT)
    if hasattr(system, "text"):
        layers = 4 if type(system).__name__ == "MagNetConfig" else 2
        text = replace(system.text, layers=layers, width=32, heads=2, feed_forward=64)
        system = replace(system, text=text)
    return replace(
        run,
        data=replace(
            run.data,
            num_scenes=24,
            validation_scenes=2,
            validation_limit=2,
            # Eight sentences are about several images, which SaG contrasts.
            sentences_per_image=2 if run.data.labels == "none" else run.data.sentences_per_image,
            size=64,
            packed=str(packed / f"{run.data.no_target:g}-{run.data.exchanged:g}-{run.data.rare:g}"),
            packers=1,
        ),
        system=system,
        preprocess=replace(run.preprocess, image_size=64),
        schedule=replace(
            run.schedule, steps=STEPS, batch_size=8, warm_up=4, log_every=1, validate_every=STEPS, save_every=STEPS
        ),
        vocabulary=LEARNED if hasattr(system, "text") else run.vocabulary,
        start_from=StartFrom(),
        workers=0,
    )


def losses(name: str, packed: Path, out: Path) -> list[float]:
    execute(tiny(name, packed), out, quiet=True)
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return json.loads(STORED.read_text(encoding="utf-8"))


def test_every_toyland_recipe_has_a_curve(stored: dict[str, Any]) -> None:
    assert sorted(stored["losses"]) == NAMES


# Of the other recipes' parts; their curves are slow tests.
LONG = {
    "late_fusion_toyland",
    "late_fusion_vit_toyland",
    "lavt_toyland_grounded",
    "magnet_toyland",
    "vega_toyland_counting",
    "vega_toyland_grounded",
    "vega_toyland_presence",
    "vega_toyland_rare",
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in NAMES]
)
def test_a_recipe_trains_as_it_did(name: str, stored: dict[str, Any], packed: Path, tmp_path: Path) -> None:
    found, expected = losses(name, packed, tmp_path), stored["losses"][name]
    assert len(found) == len(expected) == STEPS
    if stored["made_elsewhere"].get(name, stored["made_with"]) == made_with():
        assert found == expected
    else:
        assert found[:CLOSE_STEPS] == pytest.approx(expected[:CLOSE_STEPS], rel=CLOSE)


def made_with() -> dict[str, str]:
    """What the last bits depend on: PyTorch, the instructions that it uses, and whose processor MKL finds."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    maker = next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), platform.system())
    return {"torch": torch.__version__, "cpu": f"{maker} {torch.backends.cpu.get_cpu_capability()}"}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        curves = {name: losses(name, place / "packed", place / name) for name in NAMES}
    everything = {"made_with": made_with(), "made_elsewhere": {}, "losses": curves}
    STORED.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
