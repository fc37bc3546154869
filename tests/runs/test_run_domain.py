"""The statistics of the training images that a run leaves in its cards."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deixis.checkpoints import native
from deixis.checkpoints.configs import to_dict
from deixis.data.images import ImageArray
from deixis.data.transforms import Preprocess
from deixis.models.late_fusion import LateFusionConfig
from deixis.records import Ids, Sample
from deixis.runs.data import StoredData
from deixis.runs.domain import spread_images, write_domain
from deixis.runs.run import Run
from deixis.text.bert import BertConfig
from deixis.vision.swin import SwinConfig
from deixis.zoo.loading import load

CONFIG = LateFusionConfig(
    vision=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), window=4),
    text=BertConfig(layers=1, width=16, heads=2, feed_forward=32, vocabulary=9, positions=16),
    width=16,
)
RUN = Run(data=StoredData(), system=CONFIG, preprocess=Preprocess(image_size=32, max_tokens=8))
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "red", "blue", "cup", "thing")


def dark(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 90, (24, 32, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Dark:
    """A reader of dark noise, two sentences for each image."""

    count: int = 60

    @property
    def ids(self) -> tuple[Ids, ...]:
        return tuple(Ids(image=str(number // 2), object="0", sentence=str(number)) for number in range(2 * self.count))

    def __len__(self) -> int:
        return 2 * self.count

    def __getitem__(self, position: int) -> Sample:
        picture = ImageArray(dark(position // 2))
        return Sample(visual=picture, expression="red", mask=None, ids=self.ids[position], dataset="dark", split="x")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = native.Card(system="late_fusion", config=to_dict(CONFIG), preprocess=RUN.preprocess)
    for place in ("best", "last"):
        native.save(tmp_path / place, CONFIG.build().state_dict(), card, VOCABULARY)
    return tmp_path


def test_both_checkpoints_know_their_training_images(out: Path) -> None:
    before = {place: native.read(out / place) for place in ("best", "last")}
    write_domain(out, RUN, Dark())
    for place, stored in before.items():
        now = native.read(out / place)
        assert all(np.array_equal(weight, stored.weights[name]) for name, weight in now.weights.items())
        assert now.card.domain_statistics is not None
        assert now.card.domain_statistics.images == 60
        assert replace(now.card, domain_statistics=None) == stored.card
    segmenter = load(out / "best", device="cpu")
    assert not segmenter.outside(dark(200))
    note = segmenter.outside(255 - dark(200))
    assert note.startswith("The image is unlike those that the model")
    prediction = segmenter(255 - dark(200), "red", threshold=0.01)
    assert prediction.score <= 0.5
    assert note in prediction.notes


@pytest.mark.parametrize(("images", "count"), [(0, 60), (500, 30)])
def test_without_images_the_cards_stay_as_they_are(out: Path, images: int, count: int) -> None:
    write_domain(out, replace(RUN, domain_images=images), Dark(count))
    assert native.read_card(out / "best").domain_statistics is None


def test_a_training_never_fails_by_it(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    (out / "last" / native.CARD).write_text("not JSON")
    write_domain(out, RUN, Dark())
    assert "The card gets no statistics of the training images" in caplog.text


def test_images_are_spread_over_the_split_and_none_is_read_twice() -> None:
    chosen = [*spread_images(Dark(60), 4)]
    assert [picture.tolist() for picture in chosen] == [dark(number).tolist() for number in (0, 20, 39, 59)]
    assert len([*spread_images(Dark(60), 500)]) == 60
