"""DenseCRF: the published implementation's numbers, the mask rules, and every way to ask for it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from deixis.cli import main
from deixis.data.images import ImageArray
from deixis.errors import InputError
from deixis.evaluation.evaluator import evaluate
from deixis.predict import refine
from deixis.predict.refine import DenseCRF, centred, refinement
from deixis.predict.segmenter import Segmenter
from deixis.records import Ids, MaskRule, Sample
from deixis.zoo.loading import load

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens"
B = DenseCRF(bilateral_sxy=80.0, bilateral_srgb=13.0)
WITHOUT: dict[str, Any] = {"gauss": {"bilateral_compat": 0.0}, "bil": {"gaussian_compat": 0.0}, "both": {}}
RULES = [MaskRule(threshold=0.3), MaskRule(kind="min-max", threshold=0.6), MaskRule(kind="half-maximum")]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    file = GOLDENS / "densecrf.safetensors"
    if not file.exists():
        pytest.skip("the shared goldens are not beside this checkout")
    return load_file(file)


@pytest.mark.parametrize("terms", sorted(WITHOUT))
@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("iterations", [1, 5, 10])
def test_the_probabilities_are_those_of_the_reference(
    golden: dict[str, np.ndarray], kind: str, terms: str, iterations: int
) -> None:
    name = f"q_{'A' if terms == 'gauss' else kind}_{terms}_it{iterations}"
    crf = replace(DenseCRF() if kind == "A" else B, iterations=iterations, **WITHOUT[terms])
    found = crf.probability(golden["image"], golden["soft_map"])
    # Another build of the package may differ by this much, and in set A in a few pixels more.
    assert (np.abs(found - golden[name]) > 1e-4).sum() <= (5 if kind == "A" else 0)


def test_without_iterations_the_map_is_the_clipped_one(golden: dict[str, np.ndarray]) -> None:
    found = DenseCRF(iterations=0).probability(golden["image"], golden["soft_map"])
    np.testing.assert_allclose(found, golden["q_it0"], atol=1e-6)


def test_a_map_is_found_at_the_edges_of_the_photo() -> None:
    photo, soft, true = square_photo()
    found = DenseCRF().probability(photo, soft) > 0.5
    assert (found & true).sum() / (found | true).sum() > 0.95
    assert ((soft > 0.5) & true).sum() / ((soft > 0.5) | true).sum() < 0.75


def test_widths_in_pixels_can_follow_the_size_of_the_photo() -> None:
    photo, soft, _ = square_photo()  # 40 x 60
    scaled = DenseCRF(scaled=True).probability(photo, soft)
    by_hand = DenseCRF(gaussian_sxy=3 * 60 / 320, bilateral_sxy=20 * 60 / 320).probability(photo, soft)
    assert np.array_equal(scaled, by_hand)
    assert not np.array_equal(scaled, DenseCRF().probability(photo, soft))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_without_iterations_the_mask_is_that_of_the_rule(rule: MaskRule) -> None:
    photo, soft, _ = square_photo()
    values = 0.1 + 0.7 * soft
    found, used = DenseCRF(iterations=0).refine(photo, values, rule)
    assert np.array_equal(used(found), rule(values))
    assert 0 < rule(values).sum() < values.size


def test_the_logit_is_shifted_by_that_of_the_threshold() -> None:
    values = np.array([[0.1, 0.3, 0.6, 0.0, 1.0]], np.float32)
    odds = 0.7 / 0.3 * values[:, :3] / (1 - values[:, :3])
    found = centred(values, MaskRule(threshold=0.3))
    np.testing.assert_allclose(found[:, :3], odds / (1 + odds), rtol=1e-6)
    assert found[0, 3:].tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["min-max", "half-maximum"])
def test_a_constant_map_of_zeros_stays_empty(kind: Any) -> None:
    photo, soft, _ = square_photo()
    found, used = DenseCRF().refine(photo, np.zeros_like(soft), MaskRule(kind=kind))
    assert not used(found).any()


def test_parameters_are_read_from_text() -> None:
    assert refinement(None) is None
    assert refinement("crf") == DenseCRF()
    assert refinement("crf:iterations=10,bilateral-sxy=80,scaled=true") == DenseCRF(
        iterations=10, bilateral_sxy=80.0, scaled=True
    )
    assert refinement(B) is B


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("crv", "no refinement 'crv'. Did you mean 'crf'"),
        ("crf:iteration=3", "no parameter 'iteration'. Did you mean 'iterations'"),
        ("crf:iterations=many", "iterations is 'many'; expected a number"),
        ("crf:iterations=-1", "-1 iterations; expected 0 to 1000"),
        ("crf:bilateral_sxy=0", "bilateral_sxy is 0.0; expected a positive number"),
        ("crf:gaussian_compat=-1", "gaussian_compat is -1.0; expected a number of 0 or more"),
    ],
)
def test_a_wrong_refinement_is_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        refinement(text)


def test_without_the_package_one_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(refine, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs pydensecrf2, .*pip install 'deixis\[crf\]'"):
        load(refine="crf")
    assert main(["segment", "--refine", "crf", __file__, "the red cup"]) == 2
    assert "pip install 'deixis[crf]'" in capsys.readouterr().err


def test_every_prediction_of_a_segmenter_is_refined(bundled: Callable[..., Segmenter]) -> None:
    photo, _, _ = square_photo()
    plain = bundled()(photo, "the red square")
    refined = bundled("crf:iterations=2")(photo, "the red square")
    crf = DenseCRF(iterations=2)
    expected, rule = crf.refine(photo, plain.probability, bundled().mask_rule())
    assert np.array_equal(refined.probability, expected)
    assert np.array_equal(refined.mask, rule(expected))


def test_the_report_names_the_parameters_and_the_scores_are_those_of_the_refined_masks(
    bundled: Callable[..., Segmenter], tmp_path: Path
) -> None:
    result = evaluate(bundled("crf:iterations=2"), OneSquare(), out=tmp_path / "result.json")
    assert result.computed is not None
    assert result.computed["refine"]["method"] == "crf"
    assert result.computed["refine"]["iterations"] == 2
    photo, _, true = square_photo()
    mask = bundled("crf:iterations=2")(photo, "the red square").mask
    iou = (mask & true).sum() / (mask | true).sum()
    assert result.measures["mIoU"].value == pytest.approx(100 * iou, abs=1e-3)
    assert bundled().computed.get("refine") is None


def test_a_protocol_with_a_size_of_its_own_compares_the_refined_map_there(bundled: Callable[..., Segmenter]) -> None:
    result = evaluate(bundled("crf:iterations=2"), OneSquare(), protocol="lavt-480")
    photo, _, true = square_photo()
    probability = bundled("crf:iterations=2")(photo, "the red square").probability
    mask = refine.resized(probability, (480, 480)) > 0.5
    large = np.asarray(true)[np.arange(480) * 40 // 480][:, np.arange(480) * 60 // 480]
    iou = (mask & large).sum() / (mask | large).sum()
    assert result.measures["mIoU"].value == pytest.approx(100 * iou, abs=1)


def test_the_command_line_refines_and_refuses_it_for_a_file_of_masks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photo = Path(__file__).parents[2] / "examples" / "toyland.png"
    command = ["segment", str(photo), "the person in green", "--json", "--device", "cpu", "--model", "bundled"]
    assert main(command) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*command, "--refine", "crf:iterations=2"]) == 0
    assert json.loads(capsys.readouterr().out)["rle"] != plain["rle"]
    (tmp_path / "masks.jsonl").write_text("")
    assert (
        main(["evaluate", "--predictions", str(tmp_path / "masks.jsonl"), "--refine", "crf", "--data", "toyland:val"])
        == 2
    )
    assert "--refine needs the probability maps" in capsys.readouterr().err


@pytest.fixture
def bundled() -> Callable[..., Segmenter]:
    return lambda refine=None: load("bundled", device="cpu", refine=refine)


@dataclass(frozen=True)
class OneSquare:
    """A reader of one sample."""

    ids: tuple[Ids, ...] = (Ids(image="1", object="1", sentence="1"),)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, position: int) -> Sample:
        from deixis import masks

        photo, _, true = square_photo()
        rle: Any = masks.encode(true)
        return Sample(
            visual=ImageArray(photo),
            expression="the red square",
            mask=rle,
            ids=self.ids[0],
            dataset="squares",
            split="val",
        )


def square_photo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red square on grey, a soft map that is shifted against it, and the square's mask."""
    photo = np.full((40, 60, 3), 120, np.uint8)
    photo[10:30, 20:40] = (200, 30, 30)
    true = np.zeros((40, 60), bool)
    true[10:30, 20:40] = True
    rows, columns = np.mgrid[:40, :60]
    soft = 1 / (1 + np.exp(np.hypot(rows - 21.5, columns - 32.5) / 2 - 5.2))
    return photo, soft.astype(np.float32), true
