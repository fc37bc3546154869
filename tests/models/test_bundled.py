"""The bundled model gives the numbers that it gave when it was bundled."""

from pathlib import Path

import pytest
import torch

from deixis import masks
from deixis.checkpoints import native
from deixis.zoo.bundled import BUNDLED_MODELS
from deixis.zoo.loading import load

EXAMPLES = Path(__file__).parents[2] / "examples"
SENTENCE = "the person in green"
# (y, x) and the probability there; mostly on the outline, which is the most sensitive to a change.
PROBABILITIES = {
    (188, 112): 0.0174,
    (114, 79): 0.7729,
    (229, 65): 0.8889,
    (155, 61): 0.4837,
    (240, 83): 0.5834,
    (247, 58): 0.5858,
    (131, 97): 0.5742,
    (113, 83): 0.7242,
    (140, 96): 0.3054,
    (193, 66): 0.6988,
    (165, 106): 0.1390,
    (150, 85): 1.0,
    (210, 140): 0.0,  # the person beside
    (200, 230): 0.0,  # the turtle
}
MASK = {
    "size": [384, 384],
    "counts": (
        "_]a06i;2M200O1O100000000N20O]FDb7=]HH_79aHHV7`0iHCT7>kHDP7a0mHAR7a0mH_OP7f0ZHNe75XHLo6WO_HR3_7PM_HQ3`7TMZHn2e7"
        "TMZHl2d7h00100O00O2O100O100O10O01O1N2O101O000000100N2O1O2M2O2eLlGX19XOn7]OlGX19XOa8e0_1O5K1O7K0O3M1O5K1N7H2N[bV3"
    ),
}


def test_the_bundled_model_predicts_what_it_did() -> None:
    assert (EXAMPLES / "toyland.txt").read_text(encoding="utf-8").strip() == SENTENCE
    segmenter = load("embedded", device="cpu")
    prediction = segmenter(EXAMPLES / "toyland.png", SENTENCE)
    found = {place: prediction.probability[place].item() for place in PROBABILITIES}
    assert found == pytest.approx(PROBABILITIES, rel=0, abs=1e-2)
    both, either = masks.intersection_and_union(masks.encode(prediction.mask), MASK)
    assert both / either >= 0.99
    assert prediction.score == pytest.approx(0.999, abs=1e-2)
    assert prediction.present
    with torch.no_grad():
        output = segmenter.system(segmenter.batch(EXAMPLES / "toyland.png", [SENTENCE]), explain=True)
    fractions = output.evidence["attention_to_visual_expression"][0].tolist()
    assert fractions == pytest.approx([0.321, 0.237, 0.485, 0.617], abs=1e-2)


@pytest.mark.parametrize(
    ("sentence", "is_there"),
    [
        ("the yellow turtle", True),
        ("the leftmost turtle", True),
        ("the turtle on the left", False),  # all stand in the right half
        ("the purple dog", False),
        ("person in red", False),
    ],
)
def test_the_bundled_model_finds_nothing_where_nothing_is(sentence: str, is_there: bool) -> None:
    prediction = load("bundled", device="cpu")(EXAMPLES / "toyland.png", sentence)
    assert (prediction.present, prediction.found) == (is_there, is_there)
    assert prediction.calibrated
    assert (prediction.score > 0.8) == is_there


def test_the_card_says_how_the_presence_threshold_was_chosen() -> None:
    card = native.read_card(BUNDLED_MODELS["bundled"].folder)
    assert card.presence_rule.threshold == pytest.approx(0.356, abs=1e-3)
    assert card.presence_rule.chosen_on.startswith("toyland:train, 200 scenes from number 100,000 on")
    assert card.run["data"]["rare"] == 0.85  # the Run that trained masks and head
