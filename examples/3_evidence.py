"""The evidence for a prediction, and VEGA's Figure 5: `python examples/3_evidence.py PICTURE SENTENCE [MODEL]`."""

import sys
from pathlib import Path

import numpy as np

import deixis
from deixis import masks, viz


def main(picture: str, sentence: str, model: str = "bundled") -> None:
    segmenter = deixis.load(model)
    found = segmenter(picture, sentence, explain=True)
    out = Path("out")
    out.mkdir(exist_ok=True)
    viz.explanation(found.image, found.mask, found.probability, found.expression, found.tokens, found.evidence).save(
        out / "evidence.png"
    )

    vectors = {
        name: values[0].float().cpu().numpy()
        for name, values in segmenter.system.vectors(segmenter.batch(picture, [sentence])).items()
    }
    side = round(len(vectors["pixels"]) ** 0.5)
    target = masks.resize(found.mask, side, side).ravel()
    groups = {
        "target pixels": vectors["pixels"][target],
        "background pixels": vectors["pixels"][~target],
        "words": vectors["words"],
        "visual expression": vectors["visual"],
    }
    # Words and pixels differ most in length, which says nothing here: all are set on the unit sphere.
    units = {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in groups.items() if len(rows)}
    viz.constellation(units).save(out / "constellation.png")
    print(out / "evidence.png", out / "constellation.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
