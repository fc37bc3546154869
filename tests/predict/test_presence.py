"""Whether it is there: what a presence head decides, calibrated or not, and what holds for systems without one."""

import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deixis import masks
from deixis.batch import Batch, Output
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.evaluation.scoring import Scoring, score_presence, score_system
from deixis.metrics.calibration import Calibration, apply
from deixis.metrics.protocols import PROTOCOLS
from deixis.predict.prediction import answer
from deixis.predict.presence import Presence, chances, decide
from deixis.predict.segmenter import Segmenter
from deixis.records import Ids, Sample
from deixis.text.tokenizer import Tokenizer

apple = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "apple.py")))
VOCABULARY = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "surely", "maybe", "hardly", "dark")
CHANCES = {4: 0.95, 5: 0.6, 6: 0.1}  # of the words; the least of a sentence's counts
PHOTO = np.zeros((30, 50, 3), np.uint8)
PHOTO[:15, :25] = 255


class Headed(nn.Module):
    """Marks what is bright, nothing where it hears "dark"; its head believes the words."""

    def __init__(self, headed: bool = True, broken: bool = False) -> None:
        super().__init__()
        self.headed, self.broken = headed, broken

    def forward(self, batch: Batch) -> Output:
        logits = 8 * batch.expand(batch.images)[:, 0].mean(dim=1) - 4
        logits = torch.where((batch.token_ids == 7).any(1)[:, None, None], -logits.abs(), logits)
        said = [min(CHANCES.get(word, 1.0) for word in words) for words in batch.token_ids.tolist()]
        chance = torch.tensor(said) * (float("nan") if self.broken else 1.0)
        return Output(logits=logits, evidence={"present": chance} if self.headed else {})


@dataclass(frozen=True)
class Card:
    calibration: Calibration | None


MENDED = Calibration(scale=0.5, bias=-1.0, data="made:val", expressions=9, ece_before=0.3, ece_after=0.1)


def segmenter(calibration: Calibration | None = None, **system: bool) -> Segmenter:
    preprocess = Preprocess(image_size=16, max_tokens=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Segmenter(Headed(**system), Tokenizer(VOCABULARY), preprocess, Card(calibration), name="headed")


def test_a_head_decides_whether_there_is_an_answer() -> None:
    surely, maybe, hardly = segmenter()(PHOTO, ["surely", "maybe", "hardly"])
    assert [one.score for one in (surely, maybe, hardly)] == pytest.approx([0.95, 0.6, 0.1])
    assert [one.present for one in (surely, maybe, hardly)] == [True, True, False]
    assert not hardly.mask.any()
    assert hardly.box is None
    assert (hardly.probability == surely.probability).all()  # the map stays to be looked at
    assert (surely.mask == (surely.probability > 0.5)).all()
    assert not surely.calibrated


def test_each_threshold_is_its_own() -> None:
    headed = segmenter()
    assert not headed(PHOTO, "maybe", presence_threshold=0.7).present
    assert headed(PHOTO, "hardly", presence_threshold=0.05).present
    wide, narrow = (headed(PHOTO, "maybe", threshold=level) for level in (0.1, 0.9))
    assert wide.mask.sum() > narrow.mask.sum() > 0
    assert wide.score == narrow.score
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(DeixisError, match=r"The presence threshold is .* between 0 and 1"):
            headed(PHOTO, "maybe", presence_threshold=level)


def test_an_answer_is_present_exactly_where_it_has_pixels_and_a_box() -> None:
    for sentence in ("surely", "maybe", "hardly", "surely dark", "dark"):
        for headed in (True, False):
            prediction = segmenter(headed=headed)(PHOTO, sentence)
            assert prediction.present == prediction.mask.any() == (prediction.box is not None)
    nowhere = segmenter()(PHOTO, "surely dark")  # the head believes in it, and no pixel is it
    assert nowhere.score == pytest.approx(0.95)
    assert not nowhere.present


def test_without_a_head_the_score_is_the_masks_mean_probability() -> None:
    plain = segmenter(MENDED, headed=False)
    prediction = plain(PHOTO, "hardly")
    assert prediction.present
    assert prediction.score == pytest.approx(prediction.probability[prediction.mask].mean())
    assert not prediction.calibrated
    assert plain(PHOTO, "dark").score == 0.0
    with pytest.raises(DeixisError, match="'headed' does not say whether the referent is there, so it knows no pres"):
        plain(PHOTO, "hardly", presence_threshold=0.5)


def test_a_calibrated_score_is_what_the_card_makes_of_the_heads() -> None:
    plain, mended = segmenter()(PHOTO, ["surely", "maybe"]), segmenter(MENDED)(PHOTO, ["surely", "maybe"])
    expected = apply(np.array([one.score for one in plain]), 0.5, -1.0)
    assert [one.score for one in mended] == pytest.approx(expected.tolist())
    assert all(one.calibrated for one in mended)
    assert [one.present for one in mended] == [True, False]  # 0.62, 0.31
    assert mended[0].evidence["present"] == pytest.approx(0.95)  # what the head itself said
    record = mended[1].to_json()
    assert (record["present"], record["calibrated"], record["box"]) == (False, True, None)
    assert record["score"] == round(float(expected[1]), 4)


def test_a_chance_at_the_threshold_is_not_above_it() -> None:
    probability = np.full((2, 2), 0.9, np.float32)
    for chance, present in ((0.5, False), (0.50001, True)):
        mask, score = decide(probability, 0.5, Presence(chance=chance))
        assert (mask.any(), score) == (present, chance)
    assert not answer("x", np.zeros((2, 2, 3), np.uint8), probability, presence=Presence(chance=0.5)).present


def test_a_head_that_says_no_number_is_told() -> None:
    with pytest.raises(DeixisError, match="not finite"):
        segmenter(broken=True)(PHOTO, "maybe")
    with pytest.raises(DeixisError, match="not finite"):
        list(score_system(segmenter(broken=True), Said(), PROTOCOLS["full"], Scoring()))


def test_an_apple_gpu_is_asked_for_no_float64() -> None:
    said = chances(Output(logits=torch.zeros(1, 2, 2), evidence={"present": apple.on_apple(torch.tensor([0.25]))}))
    assert said is not None
    assert (said.tolist(), said.dtype) == ([0.25], np.float64)


class Picture:
    size = (30, 50)

    num_frames = 1

    def read(self, frames: object = None) -> np.ndarray:
        return PHOTO[None]


class Said:
    """Five sentences about one photo; the bright corner is meant by all but the last two."""

    said = ("surely", "maybe", "hardly", "hardly", "maybe")
    ids = tuple(Ids("photo", f"o{number}", f"s{number}") for number in range(5))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, position: int) -> Sample:
        target = PHOTO[..., 0] > 0 if position < 3 else np.zeros((30, 50), dtype=bool)
        rle: Any = masks.encode(target)
        return Sample(
            visual=Picture(), expression=self.said[position], mask=rle, ids=self.ids[position], dataset="d", split="val"
        )


def test_a_split_is_scored_by_what_users_get() -> None:
    scored = {
        one.ids.sentence: one
        for batch in score_system(segmenter(), Said(), PROTOCOLS["grefcoco"], Scoring(batch_size=2))
        for one in batch
    }
    assert [scored[f"s{number}"].best.area > 0 for number in range(5)] == [True, True, False, False, True]
    assert [scored[f"s{number}"].best.score for number in range(5)] == pytest.approx([0.95, 0.6, 0.1, 0.1, 0.6])
    strict = Scoring(presence_threshold=0.7)
    kept = [one for batch in score_system(segmenter(), Said(), PROTOCOLS["full"], strict) for one in batch]
    assert sum(one.best.area > 0 for one in kept) == 1
    with pytest.raises(DeixisError, match="knows no presence threshold"):
        list(score_system(segmenter(headed=False), Said(), PROTOCOLS["full"], strict))


def test_what_the_head_says_of_a_split_is_had_without_its_calibration() -> None:
    heard: list[int] = []
    said, there = score_presence(segmenter(MENDED), Said(), Scoring(batch_size=2), heard.append)
    assert sorted(said.tolist()) == pytest.approx([0.1, 0.1, 0.6, 0.6, 0.95])
    assert sorted(zip(said.round(2).tolist(), there.tolist(), strict=True)) == [
        (0.1, False),
        (0.1, True),
        (0.6, False),
        (0.6, True),
        (0.95, True),
    ]
    assert sum(heard) == 5
    with pytest.raises(DeixisError, match="is no chance that could be calibrated"):
        score_presence(segmenter(headed=False), Said(), Scoring())


def test_an_impossible_presence_threshold_is_refused() -> None:
    with pytest.raises(DeixisError, match="The presence threshold is 2"):
        Scoring(presence_threshold=2.0)
