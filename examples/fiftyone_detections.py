"""Write masks into a FiftyOne data set: `python examples/fiftyone_detections.py DATASET "the red cup" "the dog"`.

Each sample gets a field `deixis` with a Detection for each sentence that was found. Install `fiftyone` beside deixis.
"""

import sys
from typing import Any

import fiftyone as fo

import deixis


def detections(segmenter: Any, image: str, sentences: list[str]) -> Any:
    """The found sentences of one image; boxes are fractions of its sides, masks cover their box only."""
    found = []
    for prediction in segmenter(image, sentences):
        if prediction.box is None:
            continue
        left, top, width, height = prediction.box
        rows, columns = prediction.size
        found.append(
            fo.Detection(
                label=prediction.expression,
                bounding_box=[left / columns, top / rows, width / columns, height / rows],
                mask=prediction.mask[top : top + height, left : left + width],
                confidence=prediction.score,
            )
        )
    return fo.Detections(detections=found)


def main(dataset: str, *sentences: str) -> None:
    segmenter = deixis.load()
    for sample in fo.load_dataset(dataset).iter_samples(autosave=True, progress=True):
        sample["deixis"] = detections(segmenter, sample.filepath, list(sentences))


if __name__ == "__main__":
    main(*sys.argv[1:])
