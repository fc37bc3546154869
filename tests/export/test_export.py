"""Exports: their masks are PyTorch's, every command takes them, and segmenting with one imports no PyTorch."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import deixis
from benchmarks.server import family
from deixis.cli import main
from deixis.data.subsets import Subset
from deixis.errors import InputError, ModelError
from deixis.predict.exported import EXPORT, ExportedNetwork, is_export, read_export, sigmoid
from deixis.predict.segmenter import Segmenter
from deixis.toyland.world import Toyland
from deixis.vision.slic import PADDING, labels_of
from deixis.zoo.systems import SYSTEMS

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "toyland.png"
SENTENCES = ["the red thing", "blue", "the thing w1 w2", "red", "the blue thing"]
FULLY_SUPERVISED = ("cmdyconv", "cmpc", "cmsa", "late_fusion", "lavt", "magnet", "proposal_matching", "sda", "vega")
OTHERS = ("groupvit", "maskclip", "sag", "tseg")
PROGRAM = """
import sys
from deixis.cli import main
code = main(sys.argv[1:])
heavy = ("torch", "transformers", "accelerate", "huggingface_hub.file_download", "scipy", "sympy", "onnx")
print([name for name in heavy if name in sys.modules])
sys.exit(code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exports")
    alone("parity.py", str(place))
    return place


def alone(program: str, *arguments: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_system_is_compared() -> None:
    assert sorted(FULLY_SUPERVISED + OTHERS) == sorted(SYSTEMS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULLY_SUPERVISED + OTHERS)
def test_masks_of_any_number_of_expressions_are_pytorchs(name: str, tmp_path: Path) -> None:
    alone("parity.py", name, str(tmp_path))


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("dot-onnx", "onnx"), ("dot-onnx", "openvino"), ("dot-openvino", None), ("late_fusion-onnx", None)],
)
def test_an_export_is_a_segmenter_with_the_predictions_of_its_checkpoint(
    folder: Path, name: str, runtime: str | None
) -> None:
    exported = deixis.load(folder / name, runtime=runtime)
    assert isinstance(exported.network, ExportedNetwork)
    expected = np.load(folder / f"{name.partition('-')[0]}.npy")
    found = exported(PHOTO, SENTENCES)
    for one, probability in zip(found, expected, strict=True):
        assert ((one.probability > 0.5) == (probability > 0.5)).mean() >= 0.9999
        assert np.abs(one.probability - probability).max() < 1e-4
        assert (one.present is None) == (name == "late_fusion-onnx")
    assert "does not know 1 of the words" not in str(found[0].notes)
    assert found[0].notes[-1][:14] == (folder / f"{name.partition('-')[0]}.txt").read_text()[:14]
    assert np.abs(exported.encode(PHOTO)("blue").probability - expected[1]).max() < 1e-4
    assert exported.weights == folder / name / files(folder / name)[-1]


def test_answers_of_an_export_carry_the_note_that_its_checkpoint_keeps_for_other_images(
    folder: Path, tmp_path: Path
) -> None:
    """An export without the features by which it could tell these images."""
    shutil.copytree(folder / "late_fusion-onnx", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / EXPORT).read_text())
    (tmp_path / "out" / EXPORT).write_text(json.dumps(facts | {"domain": ""}))
    prediction = deixis.load(tmp_path / "out")(PHOTO, "blue")
    assert "The model was trained on drawings; answers on photographs are guesses." in prediction.notes


def test_an_export_measures_the_distance_that_its_checkpoint_does(folder: Path) -> None:
    exported = deixis.load(folder / "late_fusion-onnx", runtime="onnx")
    # In a process of its own: where OpenVINO has read ONNX beside PyTorch, a later fork may end the process.
    program = "import deixis, sys; print(deixis.load(sys.argv[1], runtime='openvino')(sys.argv[2], 'blue').notes[-1])"
    command = [sys.executable, "-c", program, str(folder / "late_fusion-onnx"), str(PHOTO)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = (folder / "late_fusion.txt").read_text()
    for noted in (exported(PHOTO, "blue").notes[-1], other):
        assert noted.startswith("Not a drawing: the image is unlike")
        distances = [float(re.findall(r"distance is ([\d.]+) times", note)[0]) for note in (noted, expected)]
        assert distances[0] == pytest.approx(distances[1], rel=1e-3)
    assert exported.outside(np.full((32, 32, 3), 120, np.uint8)) == ""
    assert exported(PHOTO, "blue").score <= exported.known_outside


def files(export: Path) -> list[str]:
    return json.loads((export / EXPORT).read_text())["files"]


def test_a_system_that_encodes_images_is_two_files(folder: Path) -> None:
    assert files(folder / "late_fusion-onnx") == ["encode.onnx", "answer.onnx"]
    assert files(folder / "dot-openvino") == ["model.xml"]
    assert not list((folder / "dot-openvino").glob("*.onnx*"))


def test_an_export_that_reads_superpixels_gets_those_of_the_target_frame(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, card = read_export(folder / "late_fusion-onnx")
    given: dict[str, np.ndarray] = {}
    monkeypatch.setattr(
        "deixis.predict.exported.onnx_session", lambda *_: lambda inputs: given.update(inputs) or [inputs["regions"]]
    )
    network = ExportedNetwork(
        tmp_path, replace(facts, domain="", regions=20, compactness=10.0), card, "onnx", "float32"
    )
    clip = np.random.default_rng(0).standard_normal((1, 3, 3, 24, 32)).astype(np.float32)
    clip[..., 28:] = 0.0  # the padding of `Preprocess`
    encoded = network.encode(clip)
    assert encoded is not None
    assert (encoded["feature0"] == labels_of(clip[:, 1], 20, 10.0)).all()
    assert (given["regions"] == PADDING).sum() == 24 * 4
    assert given["images"] is clip


def test_the_evaluator_scores_an_export_as_its_checkpoint(folder: Path) -> None:
    models = deixis.load(folder / "late_fusion-onnx"), deixis.load(folder / "late_fusion", device="cpu")
    reader = Subset(Toyland(split="val", num_scenes=2), range(4))
    found = [deixis.evaluate(each, reader, draws=20) for each in models]
    assert found[0].computed == {"device": "cpu", "dtype": "float32", "compiled": False, "runtime": "onnx"}
    values = [[one.value for one in each.measures.values()] for each in found]
    assert values[0] == pytest.approx(values[1], abs=0.05)


def test_certain_pixels_have_finite_logits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their probabilities are 0 and 1 in single precision, from which no logit could be computed."""
    exported = deixis.load(folder / "late_fusion-onnx")
    checkpoint = deixis.load(folder / "late_fusion", device="cpu")
    batch = checkpoint.batch(PHOTO, SENTENCES)
    expected = exported.predict(batch).logits
    assert expected.sub(checkpoint.predict(batch).logits).abs().max() < 1e-4
    answer = exported.network._answer  # type: ignore[attr-defined]
    monkeypatch.setattr(exported.network, "_answer", lambda inputs: [1e4 * each for each in answer(inputs)])
    assert exported.predict(batch).logits.allclose(1e4 * expected)


def test_segmenting_with_an_export_imports_neither_pytorch_nor_transformers(folder: Path, tmp_path: Path) -> None:
    for runtime in ("onnx", "openvino"):
        options = ["--model", str(folder / "dot-onnx"), "--runtime", runtime, "--out", str(tmp_path / runtime)]
        command = [sys.executable, "-c", PROGRAM, "segment", str(PHOTO), "the red thing", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
        assert len(list((tmp_path / runtime).iterdir())) == 3  # overlay, mask and record


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_serving_an_export_loads_no_pytorch_in_any_process(folder: Path) -> None:
    command = [sys.executable, "-m", "deixis.cli", "serve", "--port", "0", "--model", str(folder / "dot-onnx")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        try:
            end = time.monotonic() + 60
            while not is_ready(address):
                assert time.monotonic() < end
                time.sleep(0.1)
            loaded = [Path(f"/proc/{one}/maps").read_text() for one in family(process.pid)]
        finally:
            process.terminate()
            process.wait(30)
    assert len(loaded) >= 2
    assert any("onnxruntime" in each for each in loaded)
    assert not any("libtorch" in each for each in loaded)


def is_ready(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{address}health/ready").status == 200)
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"runtime": "tensorrt"}, "There is no runtime 'tensorrt'. Choose one of: onnx, openvino, torch."),
        ({"runtime": "torch"}, "is an export, which PyTorch does not run; give the checkpoint, or omit the runtime."),
        ({"compiled": True}, "is an export, whose network is fixed; omit compiled, or give the checkpoint."),
        ({"settings": {"iterations": 2}}, "is an export, whose network is fixed; omit settings"),
        ({"device": "cuda"}, "is an export, which runs on the CPU only; omit the device 'cuda'."),
        ({"dtype": "bfloat16"}, "cannot be run in bfloat16 by onnx; expected float32, or bfloat16 with OpenVINO."),
    ],
)
def test_what_an_export_cannot_do_is_refused(folder: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        deixis.load(folder / "dot-onnx", **options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_the_other_runtime_is_refused_where_the_files_are_not_for_it(folder: Path) -> None:
    with pytest.raises(InputError, match="exported for OpenVINO only; export the model with --format onnx"):
        deixis.load(folder / "dot-openvino", runtime="onnx")
    with pytest.raises(InputError, match=r"is a checkpoint, which PyTorch runs; export it first: deixis export"):
        deixis.load(folder / "late_fusion", runtime="onnx")


def test_what_needs_the_network_itself_is_refused(folder: Path) -> None:
    exported = deixis.load(folder / "dot-onnx")
    with pytest.raises(ModelError, match="has no PyTorch module; load the checkpoint"):
        _ = exported.system
    with pytest.raises(ModelError, match="has no PyTorch module; load the checkpoint"):
        exported.batch(PHOTO, "red")
    with pytest.raises(InputError, match="no evidence; omit explain, or give the checkpoint"):
        exported(PHOTO, "red", explain=True)
    assert repr(exported).endswith("export, cpu, float32, onnx)")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "The export has format 2; expected 1"),
        ({"kind": "tflite"}, "kind is 'tflite'"),
        ({"files": ["../model.onnx"]}, "expected one or two .onnx beside it"),
        ({"files": ["absent.onnx"]}, "lacks absent.onnx; export the model again"),
    ],
)
def test_broken_facts_are_one_sentence(folder: Path, tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    for file in (folder / "dot-onnx").iterdir():
        (tmp_path / file.name).symlink_to(file)
    facts = json.loads((tmp_path / EXPORT).read_text()) | change
    (tmp_path / EXPORT).unlink()
    (tmp_path / EXPORT).write_text(json.dumps(facts))
    with pytest.raises(InputError) as caught:
        deixis.load(tmp_path)
    assert sentence in str(caught.value)


def test_a_truncated_network_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    for file in (folder / "dot-onnx").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 1000 if file.suffix == ".onnx" else None])
    with pytest.raises(InputError, match=r"model.onnx cannot be run \(.*export the model again"):
        deixis.load(tmp_path)


def test_a_full_folder_and_an_unknown_format_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["export", str(folder / "late_fusion"), str(folder / "dot-onnx")]) == 2
    assert "holds something already; give a new or an empty folder." in capsys.readouterr().err
    assert main(["export", str(folder / "late_fusion"), str(tmp_path / "new"), "--format", "tflite"]) == 2
    assert not (tmp_path / "new").exists()
    assert main(["export", str(folder / "dot-onnx"), str(tmp_path / "new")]) == 2
    assert "has no PyTorch module" in capsys.readouterr().err
    assert is_export(folder / "dot-onnx")


def test_the_logistic_function_has_no_overflow() -> None:
    found = sigmoid(np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32))
    assert found.tolist() == pytest.approx([0, 0.26894142, 0.5, 0.73105858, 1], abs=1e-7)


def test_a_forked_child_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: Segmenter = deixis.load(folder / "dot-onnx")
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(ModelError, match="was loaded before this process was forked, where it cannot run"):
        exported(PHOTO, "red")
