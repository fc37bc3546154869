"""`deixis segment`: images and sentences, what is printed and written, and errors."""

import io
import json
import os
import struct
import zlib
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from deixis import masks
from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.cli import main
from deixis.cli.segment_answers import answer_name
from deixis.data.transforms import Preprocess
from deixis.models.vega import VEGAConfig
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "blue", "cup")
CONFIG = VEGAConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), window=4),
    text=BertConfig(layers=1, width=8, heads=1, feed_forward=16, vocabulary=len(VOCABULARY), positions=16),
    width=8,
    heads=1,
    decoder_widths=(8, 8, 8),
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    weights = CONFIG.build().state_dict()
    weights["mask.bias"] += 1.0  # so that something is found in a picture of noise
    preprocess = Preprocess(image_size=64, max_tokens=8)
    native.save(folder, weights, native.Card(system="vega", config=to_dict(CONFIG), preprocess=preprocess), VOCABULARY)
    return str(folder)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos, where the command is run."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in ("photo.jpg", "other photo.png", "folder/a.png", "folder/b.webp"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(name)
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    return tmp_path


def name_of(photo: str, expression: str) -> str:
    """The start of the names of an answer's files."""
    return answer_name(os.path.abspath(photo), Path(photo).stem, expression)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, stderr."""
    code = main(["segment", *arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def test_a_photo_and_a_sentence_give_a_line_an_overlay_and_a_mask(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    code, lines, complaints = run(capsys, "photo.jpg", "the red cup", "--model", model)
    assert code == 0
    assert complaints == ""
    assert len(lines) == 1
    assert lines[0].startswith("photo.jpg  'the red cup'  score 0.")
    name = f"deixis-out/{name_of('photo.jpg', 'the red cup')}"
    assert lines[0].endswith(f"  -> {name}-overlay.png, {name}-mask.png")
    with Image.open(f"{name}-mask.png") as mask, Image.open(f"{name}-overlay.png") as overlay:
        assert mask.size == overlay.size == (64, 48)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_json_is_one_object_for_each_image_and_sentence(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    before = sorted(here.iterdir())
    code, lines, complaints = run(
        capsys, "photo.jpg", "--text", "red", "--json", "other photo.png", "blue cup", "--model", model
    )
    assert (code, complaints) == (0, "")
    records = [json.loads(line) for line in lines]
    assert [(record["image"], record["expression"]) for record in records] == [
        ("photo.jpg", "blue cup"),
        ("photo.jpg", "red"),
        ("other photo.png", "blue cup"),
        ("other photo.png", "red"),
    ]
    for record in records:
        assert list(record) == [
            "image",
            "expression",
            "found",
            "present",
            "score",
            "calibrated",
            "box",
            "size",
            "rle",
            "notes",
            "model",
            "files",
        ]
        assert record["found"] == (record["box"] is not None)
        assert record["present"] is None  # this system has no presence head
        assert record["calibrated"] is False
        assert record["notes"] == []
        assert record["size"] == [48, 64]
        assert record["model"] == model
        assert record["files"] == {}
        assert record["box"] is None or tuple(record["box"]) == masks.box(record["rle"])
    assert sorted(here.iterdir()) == before


def test_json_with_a_folder_writes_the_pictures_it_names(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    _, lines, _ = run(capsys, "photo.jpg", "red", "--json", "--out", "new/out", "--model", model)
    files = json.loads(lines[0])["files"]
    name = f"new/out/{name_of('photo.jpg', 'red')}"
    assert files == {"overlay": f"{name}-overlay.png", "mask": f"{name}-mask.png"}
    record = json.loads(lines[0])
    with Image.open(files["mask"]) as mask:
        assert (np.asarray(mask).astype(bool) == masks.decode(record["rle"])).all()


def test_compiled_gives_the_same_predictions_and_prints_that_it_takes_time(
    capsys: pytest.CaptureFixture[str], model: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.Module, "compile", compiled := Mock())  # what it makes, slow tests look at
    asked = ("photo.jpg", "the red", "the blue cup", "--json", "--explain", "--out", "out", "--model", model)
    plain, again = run(capsys, *asked), run(capsys, *asked, "--compiled", "--overwrite")
    assert again[0] == plain[0] == 0
    for one, other in zip(map(json.loads, plain[1]), map(json.loads, again[1]), strict=True):
        assert one["rle"] == other["rle"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
    assert again[2].startswith("deixis: the model is compiled")
    assert again[2].count("\n") == 1
    compiled.assert_called_once()


def test_explain_draws_the_evidence(capsys: pytest.CaptureFixture[str], model: str, here: Path) -> None:
    code, lines, _ = run(capsys, "photo.jpg", "the red cup", "--explain", "--out", "out", "--model", model)
    assert code == 0
    file = f"out/{name_of('photo.jpg', 'the red cup')}-evidence.png"
    assert lines[0].endswith(file)
    with Image.open(file) as evidence:
        assert evidence.width > 500
        assert len(evidence.getcolors(1_000_000) or ()) > 1000


def test_a_folder_stands_for_its_images_each_of_which_is_read_once(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    code, lines, complaints = run(capsys, "./folder", "folder/a.png", "the red", "--out", "out", "--model", model)
    assert (code, len(lines)) == (0, 2)
    assert complaints == "deixis: folder: Passed over: 1 .txt.\n"
    written = sorted(path.name for path in Path("out").glob("*-mask.png"))
    assert written == [f"{name_of(f'folder/{name}', 'the red')}-mask.png" for name in ("a.png", "b.webp")]


def test_photos_of_one_stem_and_expressions_of_one_slug_never_share_a_name(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    Path("other").mkdir()
    for name in ("other/a.png", "other/a.jpg", "other/A.png"):
        Image.open("folder/a.png").save(name)
    asked = ("--text=red", "--text=Red!", "--out", "out", "--model", model)
    assert run(capsys, "folder", *asked)[0] == 0
    assert run(capsys, "other", *asked)[0] == 0  # in another run
    written = {path.name.lower() for path in Path("out").glob("*-mask.png")}
    assert len(written) == 2 * 5
    assert run(capsys, "folder", "other", *asked, "--overwrite")[0] == 0
    assert {path.name.lower() for path in Path("out").glob("*-mask.png")} == written


def test_a_second_run_computes_what_is_missing_and_prints_all(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    asked = ("the red", "the blue", "--json", "--out", "out", "--model", model)
    _, first, _ = run(capsys, "photo.jpg", *asked)
    kept = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    code, lines, complaints = run(capsys, "photo.jpg", "other photo.png", *asked)
    assert (code, lines[:2]) == (0, first)
    assert [json.loads(line)["image"] for line in lines] == ["photo.jpg"] * 2 + ["other photo.png"] * 2
    assert complaints == "deixis: 2 of 4 answers are in out already; --overwrite computes them again\n"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert run(capsys, "photo.jpg", *asked, "--overwrite")[2] == ""
    assert all(path.stat().st_mtime_ns > kept[path] for path in kept)


def test_an_answer_is_computed_again_where_its_photo_has_changed_or_a_picture_is_missing(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    asked = ("photo.jpg", "the red", "--model", model)
    kept = "deixis: 1 of 1 answers are in deixis-out already; --overwrite computes them again\n"
    first = run(capsys, *asked)
    assert run(capsys, *asked) == (0, first[1], kept)
    Image.new("RGB", (20, 10)).save("photo.jpg")
    assert run(capsys, *asked)[2] == ""
    with Image.open(mask := f"deixis-out/{name_of('photo.jpg', 'the red')}-mask.png") as picture:
        assert picture.size == (20, 10)
    Path(mask).unlink()
    assert run(capsys, *asked)[2] == ""
    assert Path(mask).is_file()
    assert run(capsys, *asked, "--explain")[2] == ""
    assert run(capsys, *asked)[2] == kept


def test_answers_of_another_model_or_threshold_are_neither_taken_nor_replaced(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    run(capsys, "photo.jpg", "the red", "--model", model)
    code, lines, complaints = run(capsys, "photo.jpg", "the red", "--model", model, "--threshold", "0.4")
    assert (code, lines) == (2, [])
    assert "was computed with another threshold; give another --out, or --overwrite" in complaints
    assert run(capsys, "photo.jpg", "the red", "--model", model, "--threshold", "0.4", "--overwrite")[0] == 0


def test_nothing_is_written_where_photos_are_read_and_own_files_are_not_photos(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    before = sorted(path for path in here.iterdir() if path.is_file())
    asked = ("the red", "--model", model)
    assert run(capsys, ".", *asked)[0] == 0
    assert sorted(path for path in here.iterdir() if path.is_file()) == before
    code, lines, complaints = run(capsys, ".", "--recursive", "--explain", "--overwrite", *asked)
    assert (code, len(lines)) == (0, 4)
    assert "deixis: passed over 4 files that segment wrote" in complaints
    assert run(capsys, *map(str, Path("deixis-out").glob("*.png")), *asked)[0] == 2
    code, _, complaints = run(capsys, "./folder", *asked, "--out", "folder")
    assert code == 2
    assert "The folder folder has photos that are read; give another --out" in complaints


def test_a_photo_on_standard_input_is_read_and_named_after_its_content(
    capsys: pytest.CaptureFixture[str], model: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("photo.jpg").read_bytes())))
        code, lines, complaints = run(capsys, "-", "the red", "--model", model)
    assert (code, len(lines)) == (0, 1)
    assert "1 of 1 answers are in deixis-out already" in complaints
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert "Standard input is empty" in run(capsys, "-", "the red", "--model", model)[2]


def test_sentences_are_read_from_a_file(capsys: pytest.CaptureFixture[str], model: str, here: Path) -> None:
    Path("texts.txt").write_bytes("\ufeffthe red\r\n\r\n  blue \r\n".encode())
    _, lines, _ = run(capsys, "photo.jpg", "--texts", "texts.txt", "--text", "cup", "--json", "--model", model)
    assert [json.loads(line)["expression"] for line in lines] == ["cup", "the red", "blue"]
    Path("texts.txt").write_text("\n")
    assert "texts.txt has no expression" in run(capsys, "photo.jpg", "--texts", "texts.txt", "--model", model)[2]


def test_folders_in_folders_are_entered_on_request(capsys: pytest.CaptureFixture[str], model: str, here: Path) -> None:
    Path("albums").mkdir()
    Path("folder").rename("albums/one")
    code, _, complaints = run(capsys, "./albums", "the red", "--json", "--model", model)
    assert code == 2
    assert "The folder 'albums' has no images itself, only 1 folder; --recursive enters them." in complaints
    code, lines, _ = run(capsys, "./albums", "the red", "--json", "--recursive", "--model", model)
    assert [json.loads(line)["image"] for line in lines] == ["albums/one/a.png", "albums/one/b.webp"]


def test_long_names_are_cut_to_what_a_file_system_takes(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    for name in ("folder/a.png", "folder/b.webp"):
        Path(name).rename(f"folder/{'左' * 82}{Path(name).suffix}")
    code, lines, _ = run(capsys, "folder", "the red cup", "--explain", "--out", "out", "--model", model)
    assert (code, len(lines)) == (0, 2)
    written = sorted(path.name for path in Path("out").iterdir())
    assert len(written) == 8
    assert all("左-the-red-cup-" in name and len(name.encode()) <= 255 for name in written)


def test_a_name_longer_than_any_file_is_one_sentence(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    code, _, complaints = run(capsys, f"{'x' * 300}.jpg", "red", "--model", model)
    assert code == 2
    assert complaints.startswith("deixis: There is no file 'xxx")
    assert len(complaints.splitlines()) == 1


def test_a_mask_that_cannot_be_written_does_not_end_the_work(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    Path(mask := f"out/{name_of('folder/a.png', 'red')}-mask.png").mkdir(parents=True)
    code, lines, complaints = run(capsys, "folder", "--text=red", "--text=blue", "--out", "out", "--model", model)
    assert code == 1
    assert [line.split()[1] for line in lines] == ["'blue'", "'red'", "'blue'"]
    assert f"deixis: {mask} cannot be written: " in complaints
    assert len(complaints.splitlines()) == 2  # the other is about notes.txt


def test_explicit_options_overrule_the_guess(capsys: pytest.CaptureFixture[str], model: str, here: Path) -> None:
    Path("photo.jpg").rename("picture")
    code, lines, _ = run(capsys, "--image", "picture", "--text", "folder", "--json", "--model", model)
    assert code == 0
    assert (json.loads(lines[0])["image"], json.loads(lines[0])["expression"]) == ("picture", "folder")


def test_positional_arguments_stand_anywhere_between_options(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    code, lines, _ = run(
        capsys, "the red cup", "--json", "photo.jpg", "--threshold=0.4", "the blue", "--model", model, "--", "--out it"
    )
    assert code == 0
    assert [json.loads(line)["expression"] for line in lines] == ["the red cup", "the blue", "--out it"]


def test_a_bad_photo_among_good_ones_is_reported_and_the_rest_is_done(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    Path("broken.png").write_bytes(Path("other photo.png").read_bytes()[:900])
    code, lines, complaints = run(
        capsys, "photo.jpg", "broken.png", "absent.png", "other photo.png", "red", "--json", "--model", model
    )
    assert code == 1
    assert [json.loads(line)["image"] for line in lines] == ["photo.jpg", "other photo.png"]
    assert len(complaints.splitlines()) == 2
    assert "deixis: broken.png is a broken or truncated image" in complaints
    assert "deixis: There is no file absent.png" in complaints


def test_where_no_photo_can_be_read_the_exit_code_is_two(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    Path("one.png").write_bytes(b"no image")
    Path("two.png").write_bytes(b"")
    code, lines, complaints = run(capsys, "one.png", "two.png", "red", "--model", model)
    assert (code, lines) == (2, [])
    assert len(complaints.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent.jpg", "red"], "There is no file 'absent.jpg'"),
        (["red"], "There is no image"),
        (["photo.jpg"], "There is no sentence"),
        ([], "There is no image"),
        (["photo.jpg", "  "], "A sentence is empty"),
        (["photo.jpg", "red", "--threshold", "1.5"], "The threshold is 1.5"),
        (["photo.jpg", "red", "--threshold", "high"], "--threshold is 'high'; expected a number"),
        (["photo.jpg", "red", "--text="], "A sentence is empty"),
        (["photo.jpg", "red", "--out"], "--out has no value"),
        (["photo.jpg", "red", "--explane"], "no option '--explane'. Did you mean '--explain'?"),
        (["photo.jpg", "red", "--model", "bundeld"], "no model 'bundeld'. Did you mean 'bundled'?"),
        (["photo.jpg", "red", "--model", "folder"], "holds no model.safetensors"),
        (["photo.jpg", "red", "--model", "photo.jpg"], "not a safetensors file"),
        (["photo.jpg", "red", "--device", "gpu"], "The device 'gpu' cannot be used"),
        (["photo.jpg", "red", "--dtype", "half"], "no dtype 'half'"),
        (["folder/notes.txt", "red"], "not an image"),
        (["empty", "red"], "The folder 'empty' has no images"),
        (["photo.jpg", "foldr", "the cup"], "'foldr' is not a file or folder; did you mean 'folder'? Use --text"),
        (["photo.jpg", "foldr"], "'foldr' is not a file or folder; did you mean 'folder'? Use --text"),
        (["photo.jpg", "foldr", "--text", "the cup"], "did you mean 'folder'? Use --text for an expression."),
        (["foldr", "the cup"], "There is no image: 'foldr' is not a file or folder; did you mean 'folder'?"),
        (["photo.jpg", "red", "blue"], "'red' is not a file or folder; correct it if it should be one."),
        (
            ["photo.jpg", "folder", "the cup"],
            "'folder' is a folder here, and may also be an expression; write ./folder",
        ),
        (["photo.jpg", "folder"], "There is no sentence"),
        (["holidays/", "the cup"], "There is no file 'holidays/'"),
        (["https://example.org/a.jpg", "the cup"], "is an address; download the image"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], model: str, here: Path, arguments: list[str], complaint: str
) -> None:
    Path("empty").mkdir()
    code, lines, complaints = run(capsys, "--model", model, *arguments)
    assert (code, lines) == (2, [])
    assert complaints.startswith("deixis: ")
    assert complaint in complaints
    assert len(complaints.splitlines()) == 1


def test_a_decompression_bomb_is_refused(capsys: pytest.CaptureFixture[str], model: str, here: Path) -> None:
    size = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size))
    Path("bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + Path("other photo.png").read_bytes()[33:])
    code, _, complaints = run(capsys, "bomb.png", "red", "--model", model)
    assert code == 2
    assert "40000x40000 pixels" in complaints
    assert len(complaints.splitlines()) == 1


def test_long_and_foreign_sentences_have_notes_that_are_printed_once(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    long = "the red cup " * 500
    code, lines, complaints = run(capsys, "photo.jpg", "other photo.png", long, "茶 cup", "--json", "--model", model)
    assert code == 0
    records = [json.loads(line) for line in lines]
    assert [record["expression"] for record in records] == [long, "茶 cup"] * 2
    assert [len(record["notes"]) for record in records] == [1] * 4
    assert records[1]["notes"][0] in complaints
    assert len(complaints.splitlines()) == 2
    assert "Only the first 7 tokens" in complaints
    assert "does not know 1 of the words of '茶 cup'" in complaints


def test_a_folder_that_cannot_be_written_is_a_sentence(
    capsys: pytest.CaptureFixture[str], model: str, here: Path
) -> None:
    code, _, complaints = run(capsys, "photo.jpg", "red", "--out", "photo.jpg", "--model", model)
    assert code == 2
    assert "give --out a folder" in complaints


def test_help_explains_the_rule_for_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["segment", "--help"])
    assert not stopped.value.code
    assert "Every other argument is a\nsentence" in capsys.readouterr().out
