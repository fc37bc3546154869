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
    (188, 112): 0.0477,
    (114, 79): 0.7974,
    (229, 65): 0.5914,
    (155, 61): 0.4343,
    (240, 83): 0.5187,
    (247, 58): 0.3478,
    (131, 97): 0.4807,
    (113, 83): 0.5811,
    (140, 96): 0.3170,
    (193, 66): 0.6770,
    (165, 106): 0.1616,
    (150, 85): 1.0,
    (210, 140): 0.0,  # the person beside
    (200, 230): 0.0,  # the turtle
}
MASK = {
    "size": [384, 384],
    "counts": (
        "`]a05i;3M200O1O100000000O1O1N0_FF_7;`HGX7`0gHDT7?jHCR7a0lH@R7c0lH^OQ7h0eH_OZ7c0bHAd6A`HZ1NJa7mN_HS3_7SM[Ho2d7S"
        "M[Hl2e7g001O00O101O1O10000O10O01N2O2N11O000100O001O2N1N3N0O3eLkGY18YOP8YOmG\\16UOd8h0]1M5L106J004L1O4L1N7I1N\\bV3"
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
    assert fractions == pytest.approx([0.399, 0.287, 0.447, 0.600], abs=1e-2)


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
    assert card.presence_rule.threshold == pytest.approx(0.374, abs=1e-3)
    assert card.presence_rule.chosen_on.startswith("toyland:train, 200 scenes from number 100,000 on")
    assert card.run["data"]["rare"] == 0.7  # the Run that trained masks and head
