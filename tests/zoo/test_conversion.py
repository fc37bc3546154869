"""Published checkpoints by name: nothing is downloaded unasked, everything is checked, and once is enough."""

import hashlib
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

import deixis
from deixis.checkpoints import native
from deixis.checkpoints.official.published import PUBLISHED, Published, published_name
from deixis.checkpoints.official.reading import read_official
from deixis.errors import DeixisError
from deixis.records import MaskRule
from deixis.text.tokenizer import Tokenizer
from deixis.zoo import conversion
from deixis.zoo.conversion import cache_folder, convert, fetch, kept, obtain
from deixis.zoo.loading import find

FILES = Path(__file__).parents[1] / "checkpoints" / "official" / "published_files.py"
files = SimpleNamespace(**runpy.run_path(str(FILES)))
NAME = "magnet-refcoco"
PHOTO = np.full((30, 40, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.save(tmp_path_factory.mktemp("published") / "magnet_refcoco.pth", files.magnet())


@pytest.fixture(autouse=True)
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Published]:
    """A cache of its own and a download that copies our file, whose hash the table knows; returns what was fetched."""
    fetched: list[Published] = []

    def copy(entry: Published) -> Path:
        fetched.append(entry)
        return published

    monkeypatch.setattr(conversion, "fetch", copy)
    monkeypatch.setattr(Tokenizer, "bert_base", lambda path=None, *, download=False: Tokenizer(files.VOCABULARY))
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "cache"))
    know(monkeypatch, hashlib.sha256(published.read_bytes()).hexdigest())
    return fetched


def know(monkeypatch: pytest.MonkeyPatch, sha256: str | None) -> None:
    monkeypatch.setitem(PUBLISHED, NAME, replace(PUBLISHED[NAME], sha256=sha256))


def test_nothing_is_downloaded_without_permission(hub: list[Published]) -> None:
    with pytest.raises(DeixisError, match=r"and nothing is downloaded without permission; .* download=True"):
        deixis.load(NAME)
    with pytest.raises(DeixisError, match="`deixis checkpoint download magnet-refcoco-plus`"):
        deixis.segment(PHOTO, "the red", model="magnet-refcoco+")
    assert hub == []
    assert not cache_folder().exists()


def test_a_published_checkpoint_is_fetched_once_and_later_loads_are_offline(
    hub: list[Published], published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = deixis.load(NAME, device="cpu", download=True)
    assert hub == [PUBLISHED[NAME]]
    monkeypatch.setattr(conversion, "fetch", None)
    monkeypatch.setattr(Tokenizer, "bert_base", None)
    for again in (deixis.load(NAME, device="cpu"), deixis.load(NAME, device="cpu", download=True)):
        assert again.name == NAME
        assert again.tokenizer == segmenter.tokenizer
        weights = read_official(published).state_dict
        assert all(torch.equal(tensor, weights[name]) for name, tensor in again.system.state_dict().items())
    assert deixis.load(NAME)(PHOTO, "the red").size == (30, 40)


def test_the_card_says_where_the_weights_come_from_and_what_they_are_worth() -> None:
    card = native.read_card(obtain(NAME))
    assert card.system == "magnet"
    assert card.licence == "AGPL-3.0, as its authors state"
    assert card.description == "MagNet (Swin of 2-2-2-2 blocks, BERT of 4 layers), converted from magnet_refcoco.pth."
    assert card.score_means.startswith("the mean probability of the mask's pixels")
    assert (card.preprocess.image_size, card.preprocess.max_tokens) == (480, 20)
    assert (card.config["language_fusion"], card.config["presence"]) == ("published", False)
    assert card.origin == {
        "file": "magnet_refcoco.pth",
        "sha256": PUBLISHED[NAME].sha256,
        "protocol": "lavt-480",
        "hash": "known beforehand",
        "published as": f"https://huggingface.co/yxchng/magnet_weights/blob/{PUBLISHED[NAME].revision}/"
        "magnet_refcoco.pth",
        "dataset": "refcoco",
        "split by": "unc",
    }
    scores = {"refcoco:val": {"oIoU": 75.24}, "refcoco:testA": {"oIoU": 78.24}, "refcoco:testB": {"oIoU": 71.05}}
    assert card.scores == {"published, lavt-480": scores}


def test_a_file_converted_by_hand_is_recognised_by_its_hash(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine.pth"
    copy.write_bytes(published.read_bytes())
    convert(copy, tmp_path / "out")
    card = native.read_card(tmp_path / "out")
    assert card.origin["file"] == "mine.pth"
    assert card.origin["dataset"] == "refcoco"
    assert card.scores["published, lavt-480"]["refcoco:val"] == {"oIoU": 75.24}


def test_a_file_of_sag_is_converted_with_its_input_and_mask_rule(tmp_path: Path) -> None:
    file = files.save(tmp_path / "sag.pth", {"model": files.sag()}, args=files.SAG_ARGUMENTS, epoch=49)
    convert(file, tmp_path / "out")
    card = native.read_card(tmp_path / "out")
    assert card.description == "SaG (ViT of 2 layers, BERT of 1 layers), converted from sag.pth."
    assert (card.preprocess.image_size, card.preprocess.max_tokens) == (384, 64)
    assert card.preprocess.mean == card.preprocess.std == (0.5, 0.5, 0.5)
    assert card.mask_rule == MaskRule(kind="min-max", threshold=0.5)
    assert (card.licence, card.origin["protocol"]) == ("not stated by its authors", "weak")
    assert deixis.load(tmp_path / "out", device="cpu")(PHOTO, "the red").size == (30, 40)


def test_a_hash_that_is_not_known_beforehand_is_recorded(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, None)
    card = native.read_card(obtain(NAME))
    assert card.origin["sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    assert card.origin["hash"] == "recorded at first download, not known beforehand"
    assert card.origin["dataset"] == "refcoco"


def test_a_file_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, "0" * 64)
    with pytest.raises(DeixisError, match=r"has the sha256 \w{64}, but 0{64} was published; remove it"):
        obtain(NAME)
    assert not kept(NAME).exists()


def test_weights_of_unknown_data_say_so(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED, "magnet-all", replace(PUBLISHED["magnet-all"], sha256=PUBLISHED[NAME].sha256))
    know(monkeypatch, None)
    card = native.read_card(obtain("magnet-all"))
    assert "they may contain images of any test split" in card.description
    assert (card.origin["dataset"], card.scores) == ("not stated", {})


def test_a_conversion_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = native.save

    def interrupted(folder: Path, *rest: object) -> None:
        save(folder, *rest)  # type: ignore[arg-type]
        (folder / native.CARD).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obtain(NAME)
    assert list(kept(NAME).parent.iterdir()) == []
    monkeypatch.setattr(native, "save", save)
    assert find(NAME, download=True) == kept(NAME)
    assert [path.name for path in kept(NAME).parent.iterdir()] == [NAME]


def test_of_two_processes_at_once_the_faster_one_wins(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(entry: Published) -> Path:
        monkeypatch.setattr(conversion, "fetch", lambda entry: published)
        obtain(NAME)  # what another process did meanwhile
        (kept(NAME) / "trace").touch()
        return published

    monkeypatch.setattr(conversion, "fetch", slow)
    assert obtain(NAME) == kept(NAME)
    assert (kept(NAME) / "trace").exists()
    assert [path.name for path in kept(NAME).parent.iterdir()] == [NAME]


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEIXIS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DeixisError, match=r"cannot be written \(.+\); set DEIXIS_CACHE to a folder that can"):
        obtain(NAME)


def test_without_a_network_the_sentence_says_how_to_do_it_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("No network.\nA second line.")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(DeixisError) as caught:
        fetch(PUBLISHED[NAME])
    assert "could not be downloaded (no network); try again, or get it from" in str(caught.value)
    assert "https://huggingface.co/yxchng/magnet_weights by hand" in str(caught.value)
    assert "`deixis checkpoint convert magnet_refcoco.pth OUT`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_file_is_asked_for_at_the_revision_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def download(repository: str, file: str, *, revision: str) -> str:
        asked.append((repository, file, revision))
        return "there"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert fetch(PUBLISHED["magnet-refcoco-plus"]) == Path("there")
    assert asked == [("yxchng/magnet_weights", "magnet_refcoco+.pth", PUBLISHED[NAME].revision)]


def test_the_cache_is_where_users_expect_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(NAME) == tmp_path / "cache" / "checkpoints" / NAME
    monkeypatch.delenv("DEIXIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "deixis"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "deixis"


def test_a_folder_of_the_same_name_is_meant_first(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    convert(published, Path(NAME))
    assert find(NAME) == Path(NAME)


def test_every_name_of_the_table_is_found_and_the_nearest_offered(hub: list[Published]) -> None:
    assert published_name("magnet-refcoco+") == "magnet-refcoco-plus"
    assert published_name("magnet") is None
    assert len({entry.sha256 for entry in PUBLISHED.values()}) == len(PUBLISHED)
    with pytest.raises(DeixisError, match=r"no model 'magnet-gref-umt'. Did you mean 'magnet-gref-umd'\?"):
        deixis.load("magnet-gref-umt", download=True)
    assert hub == []
