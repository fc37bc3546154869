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
    (188, 112): 0.1863,
    (114, 79): 0.8001,
    (149, 102): 0.1508,
    (238, 80): 0.8277,
    (229, 65): 0.8424,
    (155, 61): 0.2936,
    (240, 83): 0.3215,
    (162, 103): 0.7507,
    (237, 84): 0.7311,
    (247, 58): 0.6054,
    (131, 97): 0.3746,
    (150, 85): 1.0,
    (210, 140): 0.0,  # the person beside
    (200, 230): 0.0,  # the turtle
}
MASK = {
    "size": [384, 384],
    "counts": (
        "`]a05i;3M200O2N100000O01O10ON2^FG^7:bHGX7>fHEX7<hHER7b0jHAT7`0lH@P7h0bHB]7`0^HDj6]O_H_1EGk7lN]HQ3a7TM[Hm2d7"
        "UMZHl2e7h0O1OO11OO2O1O100O1O001N101O2O0010O0001O1O002N002N1N4cLlG[16XOQ8VOPH`11WOe8e0]1N3N2O5K008H004L0O6J1N7F6"
        "MUjU3"
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
    assert prediction.score == pytest.approx(0.994, abs=1e-2)
    assert prediction.present
    with torch.no_grad():
        output = segmenter.system(segmenter.batch(EXAMPLES / "toyland.png", [SENTENCE]), explain=True)
    fractions = output.evidence["attention_to_visual_expression"][0].tolist()
    assert fractions == pytest.approx([0.350, 0.247, 0.429, 0.549], abs=1e-2)


@pytest.mark.parametrize(
    ("sentence", "is_there"),
    [
        ("the yellow turtle", True),
        ("the turtle on the left", True),
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
    assert card.presence_rule.threshold == pytest.approx(0.395, abs=1e-3)
    assert card.presence_rule.chosen_on.startswith("toyland:train, 200 scenes from number 100,000 on")
    assert card.run["data"]["num_scenes"] == 12_000  # the Run that trained the masks, not that of the head
