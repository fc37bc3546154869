"""The presence head: what it decides, calibrated or not, and what holds for systems without one."""

import runpy
from dataclasses import dataclass, field
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
from deixis.errors import DeixisError, ModelError
from deixis.evaluation.scoring import Scoring, score_presence, score_system
from deixis.metrics.calibration import Calibration, apply
from deixis.metrics.domain import DomainStatistics, fit
from deixis.metrics.protocols import PROTOCOLS
from deixis.predict.outputs import presence_probabilities
from deixis.predict.prediction import postprocess
from deixis.predict.presence import Presence, decide
from deixis.predict.segmenter import Segmenter
from deixis.records import Ids, MaskRule, PresenceRule, Sample
from deixis.text.tokenizer import Tokenizer

apple = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "apple.py")))
VOCABULARY = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "surely", "maybe", "hardly", "dark")
PROBABILITIES = {4: 0.95, 5: 0.6, 6: 0.1}  # of the words; an expression has the smallest of its words
PHOTO = np.zeros((30, 50, 3), np.uint8)
PHOTO[:15, :25] = 255
LIGHT = PHOTO[..., 0] > 0


class Headed(nn.Module):
    """Marks bright pixels, none for "dark"; the words decide what its presence head returns."""

    def __init__(self, headed: bool = True, broken: bool = False) -> None:
        super().__init__()
        self.headed, self.broken = headed, broken

    def forward(self, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False) -> Output:
        logits = 8 * batch.expand(batch.images)[:, 0].mean(dim=1) - 4
        logits = torch.where((batch.token_ids == 7).any(1)[:, None, None], -logits.abs(), logits)
        said = [min(PROBABILITIES.get(word, 1.0) for word in words) for words in batch.token_ids.tolist()]
        presence = torch.logit(torch.tensor(said), eps=1e-6) * (float("nan") if self.broken else 1.0)
        return Output(logits=logits, presence=presence if self.headed else None)


@dataclass(frozen=True)
class Card:
    calibration: Calibration | None
    presence_rule: PresenceRule = field(default_factory=PresenceRule)
    domain_statistics: DomainStatistics | None = None


MENDED = Calibration(scale=0.5, bias=-1.0, data="made:val", expressions=9, ece_before=0.3, ece_after=0.1)


def segmenter(calibration: Calibration | None = None, card: Card | None = None, **system: bool) -> Segmenter:
    preprocess = Preprocess(image_size=16, max_tokens=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Segmenter(Headed(**system), Tokenizer(VOCABULARY), preprocess, card or Card(calibration), name="headed")


def test_a_presence_head_decides_whether_there_is_a_mask() -> None:
    surely, maybe, hardly = segmenter()(PHOTO, ["surely", "maybe", "hardly"])
    assert [one.score for one in (surely, maybe, hardly)] == pytest.approx([0.95, 0.6, 0.1])
    assert [one.present for one in (surely, maybe, hardly)] == [True, True, False]
    assert not hardly.mask.any()
    assert hardly.box is None
    assert (hardly.probability == surely.probability).all()  # the map stays to be looked at
    assert (surely.mask == (surely.probability > 0.5)).all()
    assert not surely.evidence
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


def test_the_cards_threshold_is_used_and_can_be_replaced() -> None:
    careful = segmenter(card=Card(None, PresenceRule(threshold=0.05)))
    assert [one.present for one in careful(PHOTO, ["maybe", "hardly"])] == [True, True]
    assert not careful(PHOTO, "hardly", presence_threshold=0.5).present
    scored = [one for batch in score_system(careful, Said(), PROTOCOLS["full"], Scoring()) for one in batch]
    assert all(one.best.area > 0 for one in scored)
    with pytest.raises(DeixisError, match=r"The presence threshold is 1\.0; expected a number between 0 and 1"):
        PresenceRule(threshold=1.0)


def test_something_is_found_exactly_where_the_mask_has_pixels_and_a_box() -> None:
    for sentence in ("surely", "maybe", "hardly", "surely dark", "dark"):
        for headed in (True, False):
            prediction = segmenter(headed=headed)(PHOTO, sentence)
            assert prediction.found == prediction.mask.any() == (prediction.box is not None)
            assert (prediction.present is None) == (not headed)
    nowhere = segmenter()(PHOTO, "surely dark")  # present by the head, but no pixel exceeds the threshold
    assert nowhere.score == pytest.approx(0.95)
    assert nowhere.present
    assert not nowhere.found


def test_without_a_head_the_score_is_the_masks_mean_probability() -> None:
    plain = segmenter(MENDED, headed=False)
    prediction = plain(PHOTO, "hardly")
    assert prediction.found
    assert prediction.present is None
    assert prediction.score == pytest.approx(prediction.probability[prediction.mask].mean())
    assert not prediction.calibrated
    assert plain(PHOTO, "dark").score == 0.0
    with pytest.raises(DeixisError, match="'headed' has no presence head, so it has no presence threshold"):
        plain(PHOTO, "hardly", presence_threshold=0.5)


def test_a_calibrated_score_is_the_cards_function_of_the_heads_probability() -> None:
    plain, mended = (segmenter(one)(PHOTO, ["surely", "maybe"], explain=True) for one in (None, MENDED))
    expected = apply(np.array([one.score for one in plain]), 0.5, -1.0)
    assert [one.score for one in mended] == pytest.approx(expected.tolist())
    assert all(one.calibrated for one in mended)
    assert [one.present for one in mended] == [True, False]  # 0.62, 0.31
    assert mended[0].evidence["presence"] == pytest.approx(mended[0].score)
    record = mended[1].to_json()
    assert (record["found"], record["present"], record["calibrated"], record["box"]) == (False, False, True, None)
    assert record["score"] == round(float(expected[1]), 4)


def test_a_model_that_errs_often_keeps_the_order_of_its_scores() -> None:
    values = np.full((2, 2), 0.75, np.float32)
    scores = [decide(values, MaskRule(), Presence(probability=p), highest=0.4)[1] for p in (0.6, 0.9)]
    assert scores == pytest.approx([0.24, 0.36])
    assert decide(values, MaskRule(), highest=0.4)[1] == pytest.approx(0.3)


def test_a_probability_at_the_threshold_does_not_exceed_it() -> None:
    values = np.full((2, 2), 0.9, np.float32)
    for probability, present in ((0.5, False), (0.50001, True)):
        mask, score = decide(values, MaskRule(), Presence(probability=probability))
        assert (mask.any(), score) == (present, probability)
    at_threshold = Presence(probability=0.5)
    assert postprocess("x", np.zeros((2, 2, 3), np.uint8), values, presence=at_threshold).present is False


def test_a_head_that_returns_nan_is_an_error_of_the_model() -> None:
    with pytest.raises(ModelError, match="not finite"):
        segmenter(broken=True)(PHOTO, "maybe")
    with pytest.raises(ModelError, match="not finite"):
        list(score_system(segmenter(broken=True), Said(), PROTOCOLS["full"], Scoring()))


def test_an_apple_gpu_computes_no_float64() -> None:
    found = presence_probabilities(Output(logits=torch.zeros(1, 2, 2), presence=apple.on_apple(torch.tensor([0.0]))))
    assert found is not None
    assert (found.tolist(), found.dtype) == ([0.5], np.float64)


class Picture:
    size = (30, 50)

    num_frames = 1

    def read(self, frames: object = None) -> np.ndarray:
        return PHOTO[None]


class Said:
    """Five sentences about one photo; the first three refer to the bright corner, the last two to nothing."""

    said = ("surely", "maybe", "hardly", "hardly", "maybe")
    ids = tuple(Ids("photo", f"o{number}", f"s{number}") for number in range(5))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, position: int) -> Sample:
        target = LIGHT if position < 3 else np.zeros((30, 50), dtype=bool)
        rle: Any = masks.encode(target)
        return Sample(
            visual=Picture(), expression=self.said[position], mask=rle, ids=self.ids[position], dataset="d", split="val"
        )


def test_a_split_is_scored_by_the_masks_of_the_segmenter() -> None:
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
    with pytest.raises(DeixisError, match="has no presence threshold"):
        list(score_system(segmenter(headed=False), Said(), PROTOCOLS["full"], strict))


class Reworded(Said):
    """The same photo: a word that is known, two of which one is, and one that is not."""

    said = ("surely", "surely nonsense", "nonsense", "hardly", "maybe")


@pytest.mark.parametrize("is_outside", [False, True])
def test_a_split_is_scored_by_what_a_user_gets_also_where_little_is_known(is_outside: bool) -> None:
    statistics = fit(np.random.default_rng(0).normal(9.0 if is_outside else 0.0, 1, (60, 2)), "made", 0.2)
    segmenter_ = segmenter(card=Card(None, domain_statistics=statistics))
    segmenter_.system.domain_map = lambda images: images[:, :1, :, :, None].flatten(1, 2)
    asked = segmenter_(PHOTO, list(Reworded.said))
    assert [bool(one.notes) for one in asked] == [is_outside, True, True, is_outside, is_outside]
    assert [one.found for one in asked] == [True, True, False, is_outside, True]  # outside, the head is not asked
    batches = score_system(segmenter_, Reworded(), PROTOCOLS["full"], Scoring(batch_size=2))
    scored = {one.ids.sentence: one.best for batch in batches for one in batch}
    for number, one in enumerate(asked):
        assert scored[f"s{number}"].area == one.mask.sum()
        assert scored[f"s{number}"].score == pytest.approx(one.score)


def test_the_heads_probabilities_over_a_split_are_not_calibrated() -> None:
    advanced: list[int] = []
    found = score_presence(segmenter(MENDED), Said(), Scoring(batch_size=2), advanced.append)
    said, there = found.probability, found.present
    assert sorted(said.tolist()) == pytest.approx([0.1, 0.1, 0.6, 0.6, 0.95])
    mask = segmenter()(PHOTO, "surely").mask
    assert found.iou[there] == pytest.approx((mask & LIGHT).sum() / (mask | LIGHT).sum())  # whatever the head says
    assert not found.iou[~there].any()
    assert sorted(zip(said.round(2).tolist(), there.tolist(), strict=True)) == [
        (0.1, False),
        (0.1, True),
        (0.6, False),
        (0.6, True),
        (0.95, True),
    ]
    assert sum(advanced) == 5
    with pytest.raises(DeixisError, match="has no presence head"):
        score_presence(segmenter(headed=False), Said(), Scoring())


def test_an_impossible_presence_threshold_is_refused() -> None:
    with pytest.raises(DeixisError, match="The presence threshold is 2"):
        Scoring(presence_threshold=2.0)
