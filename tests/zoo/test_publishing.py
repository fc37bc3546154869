"""Publishing: what is uploaded is what `load` reads back, with a page that states data, scores, licence and limits."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import deixis
from deixis.errors import InputError, ModelError
from deixis.zoo.bundled import BUNDLED_MODELS
from deixis.zoo.publishing import model_card, push_to_hub

PHOTO = Path(__file__).parents[2] / "examples" / "toyland.png"


class StandIn:
    """The hub's interface, which keeps what is uploaded."""

    calls: list[tuple[str, Any]]

    def __init__(self, place: Path) -> None:
        self.place, self.calls = place, []

    def __call__(self, token: str | None = None) -> "StandIn":
        self.calls.append(("token", token))
        return self

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create", (repository, private, exist_ok)))

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> None:
        shutil.copytree(folder_path, self.place / repo_id)


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The hub, whose cache and whose server are one folder."""
    hub = StandIn(tmp_path / "hub")

    def snapshot(repository: str, *, local_files_only: bool, allow_patterns: list[str]) -> str:
        place = hub.place / repository
        if local_files_only or not place.exists():
            raise FileNotFoundError(repository)
        return str(place)

    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    return hub


def test_a_pushed_model_is_loaded_by_the_name_of_its_repository(online: StandIn) -> None:
    address = push_to_hub("bundled", "someone/toyland-vega", token="secret")
    assert address == "https://huggingface.co/someone/toyland-vega"
    assert online.calls == [("token", "secret"), ("create", ("someone/toyland-vega", True, True))]
    place = online.place / "someone/toyland-vega"
    assert sorted(each.name for each in place.iterdir()) == ["README.md", "card.json", "model.safetensors", "vocab.txt"]
    assert "secret" not in (place / "README.md").read_text()
    model = deixis.load("someone/toyland-vega", download=True, device="cpu")
    assert model(PHOTO, "the person in green").found
    assert model.name == "someone/toyland-vega"


def test_nothing_is_downloaded_without_permission(online: StandIn) -> None:
    with pytest.raises(InputError, match="A repository of the Hugging Face hub is fetched with --download"):
        deixis.load("someone/toyland-vega")
    with pytest.raises(ModelError, match="someone/toyland-vega could not be downloaded"):
        deixis.load("someone/toyland-vega", download=True)


def test_the_page_states_data_protocol_scores_licence_and_limits() -> None:
    page = model_card(BUNDLED_MODELS["bundled"].folder, "someone/toyland-vega")
    assert page.startswith("---\nlicense: apache-2.0\nlibrary_name: deixis\n")
    assert 'deixis segment photo.jpg "the red cup" --model someone/toyland-vega --download' in page
    assert "| full toyland+:testA mIoU | 79.46 | 76.72 … 82.02 |" in page
    assert "The protocols (full) are defined" in page
    assert "- num_scenes: 5000" in page
    assert "- It was trained on drawings; answers on other images are guesses." in page
    assert "- The presence threshold 0.356 was chosen on toyland:train" in page
    assert page.endswith("## Licence\n\nApache-2.0\n")


@pytest.mark.parametrize("name", ["toyland", "a/b/c", "../x", "a b/c", "/abs"])
def test_what_is_not_a_repository_is_refused(online: StandIn, name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a repository; expected owner/name"):
        push_to_hub("bundled", name)
    assert online.calls == []


def test_a_file_of_weights_alone_is_refused(online: StandIn, tmp_path: Path) -> None:
    shutil.copy(BUNDLED_MODELS["bundled"].folder / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match="is a file of weights; give the folder of its checkpoint"):
        push_to_hub(tmp_path / "model.safetensors", "someone/model")
