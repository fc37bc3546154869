"""Several expressions about one image in one strip: `python examples/5_answers.py OUT.png PICTURE SENTENCE …`.

The README's image is made by `python examples/5_answers.py docs/answers.png examples/toyland.png "the blue checkered
person" "the smallest turtle" "the second turtle from the left" "the purple dog"`.
"""

import sys

import numpy as np

import deixis
from deixis.viz import strip


def main(out: str, picture: str, *sentences: str) -> None:
    predictions = deixis.load()(picture, list(sentences))
    panels = [(predictions[0].image, "the scene")]
    panels += [(np.asarray(one.overlay()), f"“{one.expression}”  {_said(one)}") for one in predictions]
    strip(panels).save(out)


def _said(found: deixis.Prediction) -> str:
    return f"{found.score:.2f}" if found.found else f"{found.score:.2f}, nothing found"


if __name__ == "__main__":
    main(*sys.argv[1:])
