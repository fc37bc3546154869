"""Pictures of the ablations' models: `python -m benchmarks.ablation_pictures OUT`, after `benchmarks.ablations`.

- `vega-features.png`: pixels, words and visual tokens by t-SNE, with and without the visual expression (Figure 5)
- `magnet-attention.jpg`: the attention of MagNet's pixels to each word, with all parts and without each
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from deixis import masks, viz
from deixis.metrics.scored import label_of
from deixis.records import Sample
from deixis.toyland.world import Toyland
from deixis.zoo.loading import load

from .ablations import MAGNET_HEADLINES

FOLDER = Path("runs/ablations")
WORLD = Toyland(split="val", subset="toyland", num_scenes=24)
FEATURES = {
    "enhanced words": "vega-table-2-enhanced-0",
    "enhanced words and visual expression": "vega-full-0",
}
COVERED = 0.25  # of a cell that is the target's
SENTENCES, STAGE = 2, "pixel_word_attention_3"  # the stage of stride 16
SIDE, GAP = 150, 40  # pixels: of a panel, and between the expressions


def features() -> Image.Image:
    """The pixels and the guidance set of one expression of each scene; those of the target are in its mask."""
    panels = []
    for name, folder in FEATURES.items():
        segmenter = load(FOLDER / folder / "last", device="cpu")
        groups: dict[str, list[np.ndarray]] = {}
        for number in range(WORLD.num_scenes):
            for group, vectors in _groups(segmenter, WORLD.scene(number)[0]).items():
                groups.setdefault(group, []).append(vectors)
        plot = viz.constellation({group: np.concatenate(each) for group, each in groups.items()}, side=480)
        panels.append((np.asarray(plot), name))
    return viz.strip(panels, columns=2)


def _groups(segmenter: Any, sample: Sample) -> dict[str, Float[np.ndarray, "_ d"]]:
    """On the unit sphere: words and pixels differ most in length, which says nothing here."""
    image = Image.fromarray(sample.visual.read([sample.frame])[0])
    batch = segmenter.batch(image, [sample.expression])
    with torch.no_grad():
        vectors = {name: each[0].float().numpy() for name, each in segmenter.system.vectors(batch).items()}
    side = round(len(vectors["pixels"]) ** 0.5)
    covered = Image.fromarray(masks.decode(label_of(sample)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BOX
    )
    target = np.asarray(covered).ravel() >= COVERED
    real = batch.token_mask[0].numpy()
    found = {
        "target pixels": vectors["pixels"][target],
        "background pixels": vectors["pixels"][~target],
        "words": vectors["words"][real],
        "visual expression": vectors["visual"][real[: len(vectors["visual"])]],
    }
    return {
        name: rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for name, rows in found.items()
        if len(rows) or name != "visual expression"
    }


def attention() -> Image.Image:
    """Two expressions beside each other, each with a row of maps for each model that is trained."""
    places = {row: FOLDER / f"{row.replace('/', '-')}-0" / "last" for row in MAGNET_HEADLINES}
    models = {
        row: load(place, device="cpu") for row, place in places.items() if place.with_name("result.json").exists()
    }
    blocks = []
    for number in range(SENTENCES):
        sample = next(each for each in WORLD.scene(number) if 3 <= len(each.expression.split()) <= 5)
        image = sample.visual.read([sample.frame])[0]
        named = {"target": masks.decode(label_of(sample))}
        found = {row: model(Image.fromarray(image), sample.expression, explain=True) for row, model in models.items()}
        tokens = next(iter(found.values())).tokens
        maps = {row: (one.mask, one.evidence[STAGE]) for row, one in found.items()}
        rows = viz.side_by_side(image, sample.expression, named, SIDE)
        rows += viz.word_maps(image, sample.expression, tokens, maps, SIDE)[1:]
        block = viz.stack(rows)
        blocks.append(np.asarray(block.crop((0, 0, rows[-1].width + GAP, block.height))))
    return Image.fromarray(np.concatenate(blocks, axis=1))


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in (("vega-features.png", features), ("magnet-attention.jpg", attention)):
        draw().save(out / name, quality=88)
        print(out / name)


if __name__ == "__main__":
    main()
