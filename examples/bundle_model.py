"""Put a trained model into the package: `python examples/bundle_model.py RUN "DESCRIPTION"`.

Weights are stored as float16. The card gets the scores in benchmarks/results/scores/NAME-*.json, which
`python -m benchmarks.scores MODEL --name NAME` writes, and statistics of drawn scenes in all styles, by which the
model recognises images that are not drawings; with `--photos`, an image that is more probable among the photographs
of that folder than among the scenes is none either. Those with the name of a file below `--test` are left out.
`--known-outside` is the fraction of answers on photographs that was measured to be right; scores there are multiplied
by it. Of a presence head that was trained beside the bundled model's masks,
the card keeps the Run that trained these; calibrate it next: `deixis checkpoint calibrate src/deixis/bundled …`.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deixis.checkpoints import native
from deixis.data.images import open_image
from deixis.objectives.presence import PresenceConfig
from deixis.predict.domain import statistics_of
from deixis.toyland.scene.domains import STYLES
from deixis.toyland.world import Toyland
from deixis.zoo.bundled import BUNDLED_MODELS
from deixis.zoo.loading import find, load

SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "scores"
FIRST_SEED = 1_700_000_000
PHOTO_AXES = 16  # of the statistics of photographs (docs/LOG.md)


def scores_of(name: str) -> dict[str, dict[str, object]]:
    """By protocol and split."""
    scores: dict[str, dict[str, object]] = {}
    for path in sorted(SCORES.glob(f"{name}-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        split = f"{result['dataset']}:{result['split']}"
        scores.setdefault(result["protocol"], {})[split] = {
            "expressions": result["num_expressions"],
            **{measure: result["measures"][measure] for measure in ("mIoU", "oIoU", "P@0.5")},
        }
    return scores


def drawings(scenes: int) -> Iterator[Any]:
    """This many drawn scenes, each style in turn."""
    worlds = [Toyland(style=style, num_scenes=scenes, first_seed=FIRST_SEED) for style in STYLES]
    for position in range(scenes):
        yield worlds[position % len(worlds)].drawn(position).image().pixels


def photographs(folder: Path, tested: Path | None) -> list[Path]:
    """The photographs of a folder, without those that the check is tested on."""
    left_out = {path.name for path in tested.rglob("*.jpg")} if tested else set()
    return sorted(path for path in folder.rglob("*.jpg") if path.name not in left_out)


def run_of_masks(card: native.Card) -> dict[str, Any]:
    """The Run that trained the masks."""
    is_head = card.run.get("objective", {}).get("type") == PresenceConfig.__name__
    return native.read_card(BUNDLED_MODELS["bundled"].folder).run if is_head else card.run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("description", nargs="?", help="by default that of the model's card")
    parser.add_argument("--name", default="vega", help="of the scores")
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--known-outside", type=float, default=0.5)
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--test", type=Path, help="a folder of photographs that are not used")
    parser.add_argument("--out", type=Path, default=BUNDLED_MODELS["bundled"].folder)
    options = parser.parse_args()
    checkpoint, segmenter = native.read(find(options.model)), load(options.model, device="cpu")
    data = f"{options.scenes} scenes of Toyland in {len(STYLES)} styles"
    pictures = drawings(options.scenes)
    found = statistics_of(segmenter.system, segmenter.preprocess, pictures, data, options.known_outside)
    if found is not None and options.photos:
        files = photographs(options.photos, options.test)
        photos, name = map(open_image, files), f"{len(files)} photographs"
        others = statistics_of(segmenter.system, segmenter.preprocess, photos, name, axes=PHOTO_AXES)
        found = replace(found, others=others)
    scores = scores_of(options.name) or checkpoint.card.scores
    card = replace(checkpoint.card, domain="drawings", domain_statistics=found, scores=scores)
    card = replace(card, description=options.description or card.description, run=run_of_masks(checkpoint.card))
    native.save(options.out, checkpoint.weights, card, checkpoint.vocabulary, half=True)
    size = (options.out / native.WEIGHTS).stat().st_size
    print(f"{options.out}: {size / 1e6:.1f} MB, {sum(map(len, scores.values()))} scores")


if __name__ == "__main__":
    main()
