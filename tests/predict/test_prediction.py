"""What a Prediction holds: sizes, box, score, run lengths, files and JSON."""

import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis import masks
from deixis.errors import DeixisError, InputError
from deixis.predict import prediction as module
from deixis.predict.prediction import LARGEST_OVERLAY, Prediction, postprocess, slug
from deixis.predict.presence import Presence
from deixis.records import MaskRule


def a_prediction(height: int = 12, width: int = 20, expression: str = "the red cup") -> Prediction:
    probability = np.zeros((height, width), np.float32)
    probability[3:7, 5:11] = 0.75
    probability[3, 5] = 1.0
    return postprocess(expression, np.full((height, width, 3), 200, np.uint8), probability)


def test_box_and_score_are_those_of_the_pixels_above_the_threshold() -> None:
    prediction = a_prediction()
    assert prediction.box == (5, 3, 6, 4)
    assert prediction.score == pytest.approx((1.0 + 23 * 0.75) / 24)
    assert prediction.mask.sum() == 24
    assert tuple(prediction.box) == masks.box(prediction.rle())
    strict = postprocess("x", prediction.image, prediction.probability, rule=MaskRule(threshold=0.75))
    assert strict.box == (5, 3, 1, 1)
    assert strict.score == 1.0


def test_an_empty_mask_has_no_box_and_no_score() -> None:
    prediction = postprocess("x", np.zeros((4, 6, 3), np.uint8), np.full((4, 6), 0.4, np.float32))
    assert prediction.box is None
    assert prediction.score == 0.0
    assert not prediction.found
    assert json.loads(json.dumps(prediction.to_json()))["box"] is None


def test_json_gives_the_mask_back() -> None:
    prediction = a_prediction(expression="die rote Tasse, größer als 茶")
    record = json.loads(json.dumps(prediction.to_json()))
    assert record["expression"] == "die rote Tasse, größer als 茶"
    assert record["size"] == [12, 20]
    assert (masks.decode(record["rle"]) == prediction.mask).all()


def test_json_has_found_present_and_notes() -> None:
    plain = a_prediction().to_json()
    assert (plain["found"], plain["present"], plain["notes"]) == (True, None, [])
    assert "frame" not in plain
    photo, probability = np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 0.9, np.float32)
    absent = postprocess("x", photo, probability, presence=Presence(probability=0.25), notes=("a note",)).to_json()
    assert (absent["found"], absent["present"], absent["score"], absent["notes"]) == (False, False, 0.25, ["a note"])


def test_the_frame_and_its_time_stand_in_the_json_of_a_video() -> None:
    record = replace(a_prediction(), frame=12, time=0.5).to_json()
    assert (record["frame"], record["time"]) == (12, 0.5)


def test_a_prediction_pickles() -> None:
    prediction = replace(a_prediction(), evidence={"similarity": np.ones((2, 3, 3), np.float32)}, notes=("a note",))
    copy = pickle.loads(pickle.dumps(prediction))
    assert copy.to_json() == prediction.to_json()
    assert (copy.image == prediction.image).all()
    assert (copy.probability == prediction.probability).all()
    assert (copy.evidence["similarity"] == prediction.evidence["similarity"]).all()


@pytest.mark.parametrize(
    ("rule", "marked"),
    [
        (MaskRule(), [0.6, 0.8]),
        (MaskRule(threshold=0.7), [0.8]),
        (MaskRule(kind="min-max", threshold=0.5), [0.6, 0.8]),  # 0.2 to 0.8 is stretched to 0 to 1
        (MaskRule(kind="half-maximum"), [0.45, 0.6, 0.8]),
    ],
)
def test_the_mask_follows_the_rule(rule: MaskRule, marked: list[float]) -> None:
    probability = np.array([[0.2, 0.3, 0.45, 0.6, 0.8]], np.float32)
    prediction = postprocess("x", np.zeros((1, 5, 3), np.uint8), probability, rule=rule)
    assert probability[prediction.mask].tolist() == pytest.approx(marked)
    assert prediction.score == pytest.approx(np.mean(marked))


def test_the_overlay_changes_the_masks_pixels_and_no_others() -> None:
    prediction = a_prediction()
    overlay = np.asarray(prediction.overlay())
    changed = (overlay != prediction.image).any(axis=2)
    assert (changed == prediction.mask).all()


def test_a_large_overlay_is_shrunk_and_the_mask_is_not(tmp_path: Path) -> None:
    probability = np.zeros((10, 2 * LARGEST_OVERLAY), np.float32)
    probability[:, : LARGEST_OVERLAY // 2] = 1.0
    files = postprocess("x", np.zeros((10, 2 * LARGEST_OVERLAY, 3), np.uint8), probability).save(tmp_path)
    with Image.open(files["overlay"]) as overlay, Image.open(files["mask"]) as mask:
        assert overlay.size == (LARGEST_OVERLAY, 5)
        assert mask.size == (2 * LARGEST_OVERLAY, 10)
        assert (np.asarray(overlay)[2, :, 0] > 0).mean() == pytest.approx(0.25, abs=0.001)


def test_save_writes_three_whole_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    prediction = a_prediction()
    files = prediction.save(tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "the-red-cup-overlay.png",
        "the-red-cup-mask.png",
        "the-red-cup.json",
    }
    with Image.open(files["mask"]) as mask:
        assert mask.mode == "L"
        assert ((np.asarray(mask) == 255) == prediction.mask).all()
    assert json.loads(files["json"].read_text(encoding="utf-8")) == prediction.to_json()


def test_save_takes_the_overlays_own_name(tmp_path: Path) -> None:
    files = a_prediction().save(str(tmp_path / "cup.png"))
    assert [path.name for path in files.values()] == ["cup.png", "cup-mask.png", "cup.json"]
    assert all(path.exists() for path in files.values())


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "mask.png"
    target.write_bytes(b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(DeixisError, match=r"mask\.png cannot be written: No space left on device\."):
        module.write(target, b"new content")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeixisError, match="cannot be written"):
        a_prediction().save(tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("The red cup, left of the plate!", "the-red-cup-left-of-the-plate"),
        ("../../etc/passwd", "etc-passwd"),
        ("größte Tasse", "größte-tasse"),
        ("左边的红杯子", "左边的红杯子"),
        ("???", "expression"),
        ("a" * 300, "a" * 40),
    ],
)
def test_slugs_are_safe_names_of_files(expression: str, name: str) -> None:
    assert slug(expression) == name


def test_a_prediction_is_one_line() -> None:
    prediction = a_prediction()
    height, width = prediction.size
    assert repr(prediction) == (
        f"Prediction({prediction.expression!r}, box={prediction.box}, score={prediction.score:.4f}, present=None, "
        f"{width}x{height} pixels)"
    )
    assert repr(replace(prediction, frame=3, time=0.1, expression="a\nb")).endswith(" pixels, frame=3)")
    assert "\n" not in repr(replace(prediction, expression="a\nb"))


def test_an_overlay_is_at_most_4096_pixels_long_unless_another_size_is_requested() -> None:
    image = np.zeros((5, 5000, 3), np.uint8)
    prediction = postprocess("x", image, np.ones((5, 5000), np.float32))
    assert prediction.overlay().size == (4096, 4)
    assert prediction.overlay(max_side=None).size == (5000, 5)
    assert prediction.overlay(max_side=100).size == (100, 1)
    with pytest.raises(InputError, match="max_side is 0; expected 1 or more"):
        prediction.overlay(max_side=0)


def test_an_overlay_of_full_size_needs_a_few_bytes_for_each_pixel() -> None:
    image = np.zeros((1000, 2000, 3), np.uint8)
    prediction = postprocess("x", image, np.ones(image.shape[:2], np.float32))
    tracemalloc.start()
    prediction.overlay(max_side=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * image.shape[0] * image.shape[1]
