"""The bundled model for photographs: what the default does with a photo, its card, and the size of all files."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.checkpoints import native
from deixis.toyland.scene.domains import STYLES
from deixis.toyland.world import Toyland
from deixis.zoo.bundled import BUNDLED_MODELS
from deixis.zoo.loading import load

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "refcoco_mini"
EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = BUNDLED_MODELS["photos"].folder
needs_photos = pytest.mark.skipif(not PHOTOS.exists(), reason=f"there are no photographs at {PHOTOS}")


def photos() -> list[Path]:
    return sorted(PHOTOS.rglob("*.jpg"))


@needs_photos
def test_the_default_asks_the_model_of_photographs_about_a_photograph() -> None:
    segmenter = load(device="cpu")
    answers = [segmenter(photo, "person on the left") for photo in photos()]
    answered = [one for one in answers if one.model == "photos"]
    assert len(answered) >= len(answers) - 1
    assert sum(one.found for one in answered) >= len(answered) // 2
    assert all(any("Experimental" in note and "4 of 10" in note for note in one.notes) for one in answered)
    assert segmenter(EXAMPLES / "toyland.png", "the person in green").model == "bundled"


@needs_photos
def test_most_things_that_no_photograph_shows_get_no_mask() -> None:
    segmenter = load("photos", device="cpu")
    found = [
        prediction.found
        for photo in photos()
        for prediction in segmenter(photo, ["dog", "giraffe", "the train", "airplane", "toilet", "boat"])
    ]
    assert np.mean(found) < 0.4


def test_drawings_are_outside_of_the_model_of_photographs() -> None:
    segmenter = load("photos", device="cpu")
    outside = [
        bool(segmenter.outside(Toyland(style=style, num_scenes=8, first_seed=1_900_000_000).drawn(at).image().pixels))
        for style in STYLES
        for at in range(8)
    ]
    assert np.mean(outside) >= 0.95


def test_the_card_names_origins_and_licences_and_no_place_of_a_machine() -> None:
    card = native.read_card(FOLDER)
    assert {"photos", "annotations", "detector"} <= card.origin.keys()
    assert sum(card.origin["photos by licence"].values()) > 2000
    assert "CC BY 4.0" in card.origin["annotations"]
    assert not re.search(r'"[/~]', (FOLDER / native.CARD).read_text(encoding="utf-8"))
    assert card.scores["full"]["real"]["mIoU"]["value"] > 30


def test_all_bundled_files_take_at_most_30_megabytes() -> None:
    files = [file for model in BUNDLED_MODELS.values() for file in model.folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < 30e6


def test_a_sentence_without_a_known_word_gets_no_mask() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8))
    prediction = load("photos", device="cpu")(noise, "der rote Hund")
    assert not prediction.found
    assert prediction.notes


@needs_photos
def test_no_score_is_above_the_fraction_of_answers_that_are_right() -> None:
    segmenter = load("photos", device="cpu")
    scores = [one.score for one in segmenter(photos()[0], ["zebra", "man on the left", "the front zebra"])]
    assert max(scores) <= segmenter.card.highest_score == 0.43
