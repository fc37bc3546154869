"""How often the domain check fires: `python -m benchmarks.domain [MODEL] [--photos FOLDER …] [--scenes 200]`.

The model is asked about drawn scenes of each of Toyland's styles, with other seeds than its statistics were made from,
and about the images below each folder. Its answers are not computed, only whether the image is outside.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from .measure import called, write

FIRST_SEED = 1_900_000_000  # the statistics of the bundled model are from seeds below 1.8 billion
ENDINGS = {".jpg", ".jpeg", ".png"}


def distances(segmenter: Any, pictures: Any) -> np.ndarray:
    """Each picture's distance from the training images, as a multiple of the limit."""
    import torch

    from deixis.predict import domain

    statistics = segmenter.card.domain_statistics
    images = (torch.as_tensor(segmenter.preprocess.image(picture))[None] for picture in pictures)
    return np.concatenate([domain.distances(segmenter.system, statistics, image) for image in images])


def row(found: np.ndarray) -> dict[str, Any]:
    return {
        "images": len(found),
        "outside": int((found > 1).sum()),
        "outside_percent": 100 * float((found > 1).mean()),
        "distance_quartiles": [round(float(value), 3) for value in np.quantile(found, (0, 0.25, 0.5, 0.75, 1))],
    }


def main() -> None:
    from deixis.data.images import open_image
    from deixis.toyland.scene.domains import STYLES
    from deixis.toyland.world import Toyland
    from deixis.zoo.loading import load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="bundled")
    parser.add_argument("--photos", nargs="*", type=Path, default=[])
    parser.add_argument("--scenes", type=int, default=200, help="of each style")
    parser.add_argument("--every", type=int, default=1, help="of the photos in a folder, every n-th")
    options = parser.parse_args()
    segmenter = load(options.model, device="cpu")
    drawn, photos = {}, {}
    for style in STYLES:
        world = Toyland(style=style, num_scenes=options.scenes, first_seed=FIRST_SEED)
        drawn[style] = distances(segmenter, (world.drawn(at).image().pixels for at in range(options.scenes)))
    for folder in options.photos:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)[:: options.every]
        photos[folder.name] = distances(segmenter, map(open_image, files))
    result = {
        "command": called("benchmarks.domain"),
        "toyland": {style: row(found) for style, found in drawn.items()}
        | {"all": row(np.concatenate([*drawn.values()]))},
        "photos": {name: row(found) for name, found in photos.items()},
    }
    print(json.dumps(result, indent=1))
    name = Path(options.model).name
    print(write("domain" if name == "bundled" else f"domain_{name}", result))


if __name__ == "__main__":
    main()
