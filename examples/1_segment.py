"""Segment one image by one expression: `python examples/1_segment.py [PICTURE SENTENCE [MODEL]]`."""

import sys
from pathlib import Path

import deixis

HERE = Path(__file__).parent
SENTENCE = (HERE / "toyland.txt").read_text(encoding="utf-8").strip()


def main(picture: str = str(HERE / "toyland.png"), sentence: str = SENTENCE, model: str = "bundled") -> None:
    segmenter = deixis.load(model)
    prediction = segmenter(picture, sentence)
    print(f"{sentence!r}: score {prediction.score:.2f}, box {prediction.box}")
    for file in prediction.save("out").values():
        print(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
