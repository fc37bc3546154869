"""Masks of clips: the published values of J and F, submissions that come back as they were written."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deixis.cli import main
from deixis.errors import InputError
from deixis.evaluation.evaluator import evaluate, evaluate_predictions
from deixis.evaluation.submissions import MaskFiles
from deixis.metrics.over_time import NAMES as OVER_TIME
from deixis.zoo.loading import load

SHARED = Path(__file__).parents[3] / "shared"
MINI = SHARED / "data" / "video_mini"
GOLDEN = SHARED / "goldens" / "jf.json"
pytestmark = pytest.mark.skipif(not (MINI.exists() and GOLDEN.exists()), reason="The miniature trees are not here.")


@pytest.fixture(scope="module")
def expected():
    return json.loads(GOLDEN.read_bytes())["end_to_end"]


def test_mevis_has_the_published_values(expected, tmp_path) -> None:
    tree = MINI / "mevis"
    result = evaluate_predictions(
        tree / "predictions_valid_u", tree, split="valid_u", protocol="rvos", out=tmp_path, draws=50
    )
    for name in ("J", "F", "J&F"):
        assert result.measures[name].value == pytest.approx(100 * expected["mevis_valid_u"][name], abs=1e-4)
        assert result.measures[name].low <= result.measures[name].value <= result.measures[name].high
    again = MaskFiles.open(tree / "predictions_valid_u")
    assert "1b2c3d4e5f60/0/00000.png" in again


def check_statistics(result, published):
    """Every statistic of the official evaluation, as the mean over the annotators."""
    for name, key in {"J": "J-Mean", "F": "F-Mean", "J&F": "J&F-Mean", **{each: each for each in OVER_TIME}}.items():
        found = result.measures[name]
        assert found.value == pytest.approx(100 * published[key], abs=1e-4), name
        assert found.low <= found.value + 1e-9, name
        assert found.value <= found.high + 1e-9, name


def test_ref_davis_as_published_has_the_published_values(expected, tmp_path) -> None:
    tree, case = MINI / "ref_davis" / "converted", expected["ref_davis"][0]
    result = evaluate_predictions(
        MINI / "ref_davis" / "predictions", tree, split="valid", protocol="ref-davis", out=tmp_path, draws=50
    )
    check_statistics(result, case["average_of_annotators"])


def test_ref_davis_with_fixed_objects_has_the_published_values(expected, tmp_path) -> None:
    """The original tree has the masks of the semi-supervised task."""
    case = expected["ref_davis"][2]
    assert case["task"] == "semi-supervised"
    predictions = tmp_path / "predictions"
    for folder in sorted((MINI / "ref_davis" / "predictions").iterdir()):
        for video in case["sequences"]:
            shutil.copytree(folder / video, predictions / folder.name / video)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "davis_text_annotations").symlink_to(MINI / "ref_davis" / "davis_text_annotations")
    davis = tree / "DAVIS"
    davis.mkdir()
    for name in ("JPEGImages", "Annotations"):
        (davis / name).symlink_to(MINI / "ref_davis" / "DAVIS" / name)
    lists = davis / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(case["sequences"]) + "\n")
    (lists / "train.txt").write_text("classic-car\n")
    result = evaluate_predictions(predictions, tree, split="valid", protocol="ref-davis-fixed", out=tmp_path, draws=50)
    check_statistics(result, case["average_of_annotators"])


@pytest.mark.parametrize(("name", "split", "first"), [
    ("refer_youtube_vos", "valid", "Annotations/"), ("mevis", "valid_u", ""),
    pytest.param("ref_davis/converted", "valid", "anno_", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_submission_scores_as_the_model_that_wrote_it(name, split, first, tmp_path, capsys) -> None:
    tree, zipped = MINI / name, tmp_path / "masks.zip"
    command = ["evaluate", "bundled", "--data", str(tree), "--split", split, "--quiet", "--submission", str(zipped)]
    assert main(command) == 0
    assert "masks" in capsys.readouterr().out
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
        assert all(
            each.startswith(first) and each.count("/") == (3 if first == "Annotations/" else 2) for each in names
        )
        values = {int(value) for each in names[:5] for value in np.unique(np.asarray(Image.open(archive.open(each))))}
        assert values <= ({0, 1, 2} if first == "anno_" else {0, 255})
    assert main(command) == 2  # the zip exists
    if name == "refer_youtube_vos":
        return  # its valid has no masks
    protocol = "ref-davis" if first == "anno_" else "rvos"
    by_model = evaluate(load("bundled"), tree, split=split, protocol=protocol, out=tmp_path / "model", draws=20)
    by_file = evaluate_predictions(zipped, tree, split=split, protocol=protocol, out=tmp_path / "file", draws=20)
    assert {key: one.value for key, one in by_model.measures.items()} == pytest.approx(
        {key: one.value for key, one in by_file.measures.items()}
    )


def test_a_missing_frame_is_named_and_an_image_data_set_is_refused(tmp_path, capsys) -> None:
    folder = tmp_path / "masks" / "1b2c3d4e5f60" / "0"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((72, 128), np.uint8)).save(folder / "00000.png")
    command = ["evaluate", "--predictions", str(tmp_path / "masks"), "--data", str(MINI / "mevis"), "--quiet"]
    assert main([*command, "--split", "valid_u", "--protocol", "rvos", "--out", str(tmp_path)]) == 2
    assert "1b2c3d4e5f60/0/00000.png has 72x128 pixels; expected 90x160" in capsys.readouterr().err
    Image.fromarray(np.zeros((90, 160), np.uint8)).save(folder / "00000.png")
    assert main([*command, "--split", "valid_u", "--protocol", "rvos", "--out", str(tmp_path)]) == 2
    assert "no mask for" in capsys.readouterr().err
    zipped = tmp_path / "out.zip"
    assert main(["evaluate", "bundled", "--data", "toyland:val", "--scenes", "2", "--submission", str(zipped)]) == 2
    assert "no submission format" in capsys.readouterr().err
    assert not zipped.exists()


def test_grey_masks_are_refused_as_label_maps(tmp_path) -> None:
    """As binary masks they would all count as background."""
    tree, predictions = MINI / "ref_davis" / "converted", tmp_path / "predictions"
    shutil.copytree(MINI / "ref_davis" / "predictions", predictions)
    for path in predictions.rglob("*.png"):
        Image.fromarray(np.where(np.asarray(Image.open(path)) > 0, 200, 0).astype(np.uint8)).save(path)
    for protocol in ("ref-davis", "ref-davis-fixed"):
        with pytest.raises(InputError, match="an object 200; expected"):
            evaluate_predictions(predictions, tree, split="valid", protocol=protocol, out=tmp_path / "out", draws=20)
    assert not list((tmp_path / "out").iterdir())


def test_the_davis_protocols_need_ref_davis(tmp_path, capsys) -> None:
    assert main(["evaluate", "bundled", "--data", "toyland:val", "--scenes", "2", "--protocol", "ref-davis"]) == 2
    assert "Ref-DAVIS17's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("added", "named"),
    [
        (["bundled", "--limit", "3"], "omit --limit"),
        (["bundled", "--sweep-threshold"], "--sweep-threshold scores each mask alone"),
        (["--predictions", "masks.jsonl"], "a folder or a zip of PNGs"),
    ],
)
def test_the_davis_protocols_refuse_what_would_not_be_their_score(added, named, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks.jsonl").write_text("")
    data = ["--data", str(MINI / "ref_davis" / "converted"), "--split", "valid", "--protocol", "ref-davis", "--quiet"]
    assert main(["evaluate", *added, *data]) == 2
    assert named in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["masks.jsonl"]
