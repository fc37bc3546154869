"""Images outside a model's domain: notes, no presence, a lower score; and a default that passes them on or refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.data.transforms import Preprocess
from deixis.metrics.domain import DomainStatistics, fit
from deixis.models.late_fusion import LateFusionConfig
from deixis.predict.domain import domain_features, domain_map, statistics_of
from deixis.text.bert import BertConfig
from deixis.vision.resnet import ResNet, ResNetConfig
from deixis.vision.swin import SwinConfig
from deixis.vision.vit import ViT, ViTConfig
from deixis.zoo import bundled
from deixis.zoo.bundled import BundledModel
from deixis.zoo.loading import load

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "red", "blue", "cup", "thing")
CONFIG = LateFusionConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=9, positions=16),
    width=16,
    presence=True,
)
PREPROCESS = Preprocess(image_size=32, max_tokens=8)


def dark(number: int = 0) -> np.ndarray:
    """Noise in the dark half of all values."""
    return np.random.default_rng(number).integers(0, 90, (40, 56, 3)).astype(np.uint8)


def bright(number: int = 0) -> np.ndarray:
    return 255 - dark(number)


def frames_in(folder: Path, *frames: np.ndarray) -> Path:
    """A clip as a folder of numbered frames."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03}.png")
    return folder


def write(folder: Path, pictures: list[np.ndarray], seed: int, domain: str) -> None:
    torch.manual_seed(seed)
    system = CONFIG.build().eval()
    found = statistics_of(system, PREPROCESS, pictures, "noise", known_outside=0.25)
    card = native.Card(
        system="late_fusion",
        config=to_dict(CONFIG),
        preprocess=PREPROCESS,
        domain=domain,
        domain_statistics=found,
    )
    native.save(folder, system.state_dict(), card, VOCABULARY)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    write(place / "night", [dark(number) for number in range(1, 80)], 0, "drawings")
    write(place / "day", [bright(number) for number in range(1, 80)], 1, "photographs")
    return {name: place / name for name in ("night", "day")}


def test_an_image_of_the_domain_is_answered_as_ever(folders: dict[str, Path]) -> None:
    prediction = load(folders["night"], device="cpu")(dark(), "the red cup")
    assert prediction.present is not None
    assert prediction.notes == ()
    assert prediction.model == str(folders["night"])


def test_an_image_outside_gets_a_note_no_presence_and_a_lower_score(folders: dict[str, Path]) -> None:
    segmenter = load(folders["night"], device="cpu")
    prediction = segmenter(bright(), "the red cup", threshold=0.01)
    assert prediction.present is None
    assert prediction.found
    assert prediction.score <= 0.25
    (note,) = prediction.notes
    assert note.startswith("Not a drawing: the image is unlike those that the model")
    assert segmenter.encode(bright()).note == note


def test_the_images_of_a_batch_are_inside_or_outside_as_each_alone(folders: dict[str, Path]) -> None:
    segmenter = load(folders["night"], device="cpu")
    pictures = [dark(1), bright(1), bright(2), dark(2)]
    images = torch.cat([segmenter.placed([PREPROCESS.image(picture)]) for picture in pictures])
    assert segmenter.is_outside(images) == [False, True, True, False]
    alone = [segmenter._distances(image[None])[0] for image in images]
    assert segmenter._distances(images).tolist() == pytest.approx(alone, rel=1e-4)


def test_without_statistics_nothing_is_outside(folders: dict[str, Path]) -> None:
    segmenter = load(folders["night"], device="cpu")
    segmenter.card = replace(segmenter.card, domain_statistics=None)
    assert segmenter(bright(), "red").present is not None


@pytest.fixture
def two_models(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    models = {
        "bundled": BundledModel(folder=folders["night"], domain="drawings"),
        "photos": BundledModel(folder=folders["day"], domain="photographs", note="experimental: 3 of 10 right"),
    }
    monkeypatch.setattr(bundled, "BUNDLED_MODELS", models)


@pytest.mark.usefixtures("two_models")
def test_the_default_asks_the_model_whose_domain_the_image_is_in() -> None:
    segmenter = load(device="cpu")
    night, day = segmenter(dark(), "the red cup"), segmenter(bright(), ["the red cup", "blue"])
    assert (night.model, night.notes) == ("bundled", ())
    assert [each.model for each in day] == ["photos", "photos"]
    assert day[0].notes == ("experimental: 3 of 10 right",)
    alone = load("photos", device="cpu")(bright(), "the red cup")
    assert np.allclose(day[0].probability, alone.probability, atol=1e-6)


@pytest.mark.usefixtures("two_models")
def test_the_second_model_is_loaded_when_it_is_first_needed() -> None:
    segmenter = load(device="cpu")
    segmenter(dark(), "red")
    assert segmenter.alternatives is not None
    assert not segmenter.alternatives._loaded
    segmenter(bright(), "red")
    assert [*segmenter.alternatives._loaded] == ["photos"]


@pytest.mark.usefixtures("two_models")
def test_an_image_of_no_model_is_refused_with_advice() -> None:
    half = np.concatenate([dark(), bright()], axis=1)
    prediction = load(device="cpu")(half, "the red cup")
    assert not prediction.found
    assert (prediction.present, prediction.score, prediction.size) == (None, 0.0, (40, 112))
    assert any("deixis checkpoint download magnet-refcoco" in note for note in prediction.notes)
    forced = load("bundled", device="cpu")(half, "the red cup", threshold=0.01)
    assert forced.found
    assert len(forced.notes) == 1


def test_one_model_alone_refuses_what_is_outside(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    only = {"bundled": BundledModel(folder=folders["night"], domain="drawings")}
    monkeypatch.setattr(bundled, "BUNDLED_MODELS", only)
    segmenter = load(device="cpu")
    assert segmenter(dark(), "red").model == "bundled"
    refused = segmenter(bright(), "red zorb", explain=True)
    assert not refused.found
    assert "does not know 1 of the words" in refused.notes[0]


@pytest.mark.usefixtures("two_models")
def test_a_clip_is_answered_by_the_model_of_its_first_frame(tmp_path: Path) -> None:
    segmenter = load(device="cpu")
    day = frames_in(tmp_path / "day", bright(1), bright(2))
    assert {each.model for each in segmenter.video(day, ["red"], smooth=0.5)} == {"photos"}
    mixed = [*segmenter.video(frames_in(tmp_path / "mixed", dark(1), bright(1)), ["red"], smooth=0.5)]
    assert [each.model for each in mixed] == ["bundled", "bundled"]
    assert not mixed[1].found


def test_features_are_those_of_the_image_encoder() -> None:
    images = torch.rand(3, 3, 32, 32)
    resnet = ResNet(ResNetConfig(depths=(1, 1, 1, 1), width=4)).eval()
    vit = ViT(ViTConfig(layers=1, width=16, heads=2, patch=8, grid=4, drop_path=0.0)).eval()
    for system, width in ((CONFIG.build().eval(), 16), (resnet, 32), (vit, 32)):
        found = domain_features(system, images)
        assert found is not None
        assert found.shape == (3, width)
    assert domain_map(torch.nn.Linear(2, 2), images) is None


def test_a_system_may_name_its_own_map() -> None:
    class Own(torch.nn.Linear):
        def domain_map(self, images: torch.Tensor) -> torch.Tensor:
            return images.permute(0, 2, 3, 1)

    images = torch.rand(2, 3, 8, 8)
    found = domain_features(Own(1, 1), images)
    assert found is not None
    assert np.allclose(found[:, :3], images.mean((2, 3)).numpy(), atol=1e-6)


def test_too_few_pictures_give_no_statistics() -> None:
    assert statistics_of(CONFIG.build().eval(), PREPROCESS, [dark()] * 3, "few") is None
    assert statistics_of(CONFIG.build().eval(), PREPROCESS, [], "none") is None
    assert isinstance(fit(np.random.default_rng(0).normal(size=(50, 3)), "x"), DomainStatistics)
