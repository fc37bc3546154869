"""Put a trained model into the package: `python examples/bundle_model.py RUN "DESCRIPTION" [NAME]`.

Weights are stored as float16. The card gets the scores in benchmarks/results/scores/NAME-*.json, which
`python -m benchmarks.scores MODEL --name NAME` writes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from deixis.checkpoints import native
from deixis.zoo.loading import BUNDLED, find

SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "scores"


def main(model: str, description: str, name: str = "vega") -> None:
    checkpoint = native.read(find(model))
    scores: dict[str, dict[str, object]] = {}
    for path in sorted(SCORES.glob(f"{name}-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        split = f"{result['dataset']}:{result['split']}"
        scores.setdefault(result["protocol"], {})[split] = {
            "expressions": result["num_expressions"],
            **{measure: result["measures"][measure] for measure in ("mIoU", "oIoU", "P@0.5")},
        }
    card = replace(checkpoint.card, description=description, scores=scores)
    native.save(BUNDLED, checkpoint.weights, card, checkpoint.vocabulary, half=True)
    size = (BUNDLED / native.WEIGHTS).stat().st_size
    print(f"{BUNDLED}: {size / 1e6:.1f} MB, {sum(map(len, scores.values()))} scores")


if __name__ == "__main__":
    main(*sys.argv[1:])
