"""The Segmenter takes any photo and any sentences, and answers at the photo's own size."""

import io
import runpy
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deixis.batch import Batch, Output
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError
from deixis.predict.segmenter import LARGEST_BATCH_OF_A_CPU, ExpressionWarning, Segmenter, resize_probability
from deixis.text.tokenizer import Tokenizer

apple = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "apple.py")))
LIMIT = 8
WORDS = Tokenizer(["[PAD]", "[CLS]", "[SEP]", "red", "green", "blue", "[UNK]", "the", "thing"])  # colours are 3 to 5


class ColourSystem(nn.Module):
    """Finds pixels of the colour that is named; counts the pictures it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))
        self.batches: list[tuple[int, int]] = []

    def forward(self, batch: Batch) -> Output:
        self.batches.append((len(batch.images), len(batch)))
        pixels = batch.expand(batch.images[:, 0])  # 0 to 1: the preprocess of these tests does not normalise
        named = torch.stack([(batch.token_ids == number).any(1) for number in (3, 4, 5)], dim=1).to(pixels.dtype)
        chosen = (pixels * named[..., None, None]).sum(1)
        others = (pixels * (1 - named[..., None, None])).amax(1)
        logits = self.gain * (chosen - others - 0.5)
        grid = nn.functional.adaptive_avg_pool2d(pixels, 4)[:, :1].repeat(1, batch.token_ids.shape[1], 1, 1)
        return Output(logits=logits, evidence={"similarity": grid, "selected": grid > 0.5})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {}


def segmenter(**changes: torch.dtype | str) -> Segmenter:
    preprocess = Preprocess(image_size=32, max_tokens=LIMIT, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Segmenter(ColourSystem(), WORDS, preprocess, name="colours", **changes)  # type: ignore[arg-type]


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    """Black, with a red upper left quarter and a blue lower right one."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[height // 2 :, width // 2 :, 2] = 255
    return pixels


def test_the_mask_has_the_photos_size_and_the_things_place() -> None:
    prediction = segmenter()(photo(), "red")
    assert prediction.mask.shape == prediction.probability.shape == (60, 90)
    assert prediction.size == (60, 90)
    assert prediction.box == pytest.approx((0, 0, 45, 30), abs=2)
    assert prediction.probability.dtype == np.float32
    assert prediction.score > 0.9


def test_a_list_gives_the_answers_of_its_sentences_one_by_one() -> None:
    one, sentences = segmenter(), ["red", "blue", "the green", "red blue thing"] * 5
    together = one(photo(), sentences)
    assert [each.expression for each in together] == sentences
    for sentence, prediction in zip(sentences, together, strict=True):
        alone = one(photo(), sentence)
        assert (alone.mask == prediction.mask).all()
        assert np.allclose(alone.probability, prediction.probability, atol=1e-6)
        assert alone.score == pytest.approx(prediction.score, abs=1e-6)
        assert alone.words == prediction.words[: len(alone.words)]
        assert set(prediction.words[len(alone.words) :]) <= {"[PAD]"}


def test_the_image_is_shown_once_for_all_the_sentences_of_a_chunk() -> None:
    one = segmenter()
    one(photo(), ["red"] * (LARGEST_BATCH_OF_A_CPU + 3))
    assert one.system.batches == [(1, LARGEST_BATCH_OF_A_CPU), (1, 3)]
    assert one(photo(), []) == []


def test_a_stream_gives_each_answer_before_more_are_looked_for_and_keeps_none() -> None:
    one, sentences = segmenter(), ["red", "blue", "the green", "red blue thing", "the red", "the blue"]
    together = one(photo(), sentences)
    one.system.batches.clear()
    stream = one.stream(photo(), sentences)
    assert one.system.batches == []
    answered = weakref.ref(next(stream))
    assert one.system.batches == [(1, LARGEST_BATCH_OF_A_CPU)]
    assert answered() is None
    assert not torch.is_inference_mode_enabled()  # between answers, whoever asks may train
    for expected, prediction in zip(together[1:], stream, strict=True):
        assert prediction.expression == expected.expression
        assert (prediction.probability == expected.probability).all()


def test_what_is_wrong_is_said_before_the_first_of_a_stream_is_asked_for(tmp_path: Path) -> None:
    one = segmenter()
    with pytest.raises(DeixisError, match="The expression is empty"):
        one.stream(photo(), ["red", " "])
    with pytest.raises(DeixisError, match=r"There is no file .*nowhere\.png"):
        one.stream(tmp_path / "nowhere.png", ["red"])
    with pytest.warns(ExpressionWarning, match="does not know 1"):
        one.stream(photo(), ["red elephant"])


def test_every_form_of_a_photo_gives_the_same_answer(tmp_path: Path) -> None:
    one, path, stream = segmenter(), tmp_path / "photo.png", io.BytesIO()
    Image.fromarray(photo()).save(path)
    Image.fromarray(photo()).save(stream, "PNG")
    expected = one(photo(), "blue").probability
    for form in (path, str(path), stream.getvalue(), Image.fromarray(photo())):
        assert (one(form, "blue").probability == expected).all()


def test_a_photo_turned_by_exif_is_answered_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise by a quarter
    Image.fromarray(photo()).save(tmp_path / "turned.png", exif=exif)
    prediction = segmenter()(tmp_path / "turned.png", "red")
    upright = segmenter()(np.rot90(photo(), -1).copy(), "red")
    assert prediction.size == (90, 60)
    assert (prediction.mask == upright.mask).all()
    assert prediction.box is not None
    assert prediction.box[0] > 25


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16", "1", "F"])
def test_photos_of_every_mode_are_read(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        picture = Image.fromarray(photo()[..., 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(photo()).convert(mode)
    path = tmp_path / f"photo.{'jpg' if mode == 'CMYK' else 'tif' if mode == 'F' else 'png'}"
    picture.save(path)
    prediction = segmenter()(path, "red")
    assert prediction.size == (60, 90)
    if mode in {"RGBA", "P", "CMYK"}:
        assert prediction.box == pytest.approx((0, 0, 45, 30), abs=3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (31, 33), (2000, 3000)])
def test_any_size_comes_back_as_it_came(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 255
    prediction = segmenter()(pixels, "red")
    assert prediction.size == (height, width)
    assert prediction.mask.all()
    assert prediction.box == (0, 0, width, height)


def test_a_pattern_finer_than_the_photo_is_averaged_rather_than_sampled() -> None:
    place = torch.arange(63)
    board = ((place[:, None] + place) % 2).float()
    # Seven, as an odd shrinkage, has a pixel in the middle of each cell: a sample would be 0 or 1.
    assert resize_probability(board, 9, 9) == pytest.approx(0.5, abs=0.01)
    assert resize_probability(board, 8, 8) == pytest.approx(0.5, abs=0.01)


def test_an_apple_gpus_maps_are_stretched_on_the_cpu() -> None:
    maps = torch.rand(8, 8)
    assert (resize_probability(apple.on_apple(maps), 5, 13) == resize_probability(maps, 5, 13)).all()


@pytest.mark.slow
def test_a_photo_of_a_hundred_megapixels_is_answered(tmp_path: Path) -> None:
    Image.fromarray(photo(90, 120)).resize((12_000, 9_000), Image.Resampling.NEAREST).save(
        tmp_path / "large.png", compress_level=1
    )
    prediction = segmenter()(tmp_path / "large.png", "red")
    assert prediction.size == (9_000, 12_000)
    assert prediction.box == pytest.approx((0, 0, 6_000, 4_500), abs=200)
    files = prediction.save(tmp_path / "out")
    assert files["mask"].stat().st_size < 2_000_000


def test_the_threshold_chooses_the_mask_from_the_probability() -> None:
    low, high = (segmenter()(photo(), "red", threshold=level) for level in (0.1, 0.9))
    assert (low.mask == (low.probability > 0.1)).all()
    assert high.mask.sum() < low.mask.sum()
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(DeixisError, match="between 0 and 1"):
            segmenter()(photo(), "red", threshold=level)


def test_evidence_and_words_stand_with_their_answer() -> None:
    prediction = segmenter()(photo(), ["the blue thing", "the red"])[1]
    assert prediction.words == ("[CLS]", "the", "red", "[SEP]", "[PAD]")
    assert prediction.evidence["similarity"].shape == (5, 4, 4)
    assert prediction.evidence["selected"].dtype == bool
    assert prediction.evidence["similarity"].dtype == np.float32


def test_long_sentences_are_cut_with_a_warning() -> None:
    one = segmenter()
    with pytest.warns(ExpressionWarning, match="first 7 words"):
        long = one(photo(), "red thing " * 200)
    assert (long.mask == one(photo(), "red thing").mask).all()


def test_words_that_the_model_does_not_know_are_counted() -> None:
    with pytest.warns(ExpressionWarning, match="does not know 2 of the words of 'red 茶 杯'"):
        prediction = segmenter()(photo(), "red 茶 杯")
    assert prediction.words == ("[CLS]", "red", "[UNK]", "[UNK]", "[SEP]")
    assert prediction.mask.any()


@pytest.mark.parametrize("sentence", ["das Stück", "左边的", "ред 🟥", "e\u0301te\u0301", "\u202ethe", "ﬁne 𝕣𝕖𝕕"])
def test_unicode_sentences_are_answered(sentence: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpressionWarning)  # it says which words are unknown
        prediction = segmenter()(photo(), f"{sentence} red")
    assert prediction.expression == f"{sentence} red"
    assert prediction.mask.any()


def test_bytes_that_are_no_text_become_question_marks(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpressionWarning)
        prediction = segmenter()(photo(), "the red caf\udce9")  # what Python makes of another encoding's letter
    assert prediction.expression == "the red caf?"
    prediction.save(tmp_path)


@pytest.mark.parametrize("sentence", ["", "   ", "\n\t"])
def test_an_empty_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(DeixisError, match="expression is empty"):
        segmenter()(photo(), ["red", sentence])


def test_a_sentence_without_a_word_and_a_number_are_refused() -> None:
    with pytest.raises(DeixisError, match="no word in it"):
        segmenter()(photo(), "\x00\x01")
    with pytest.raises(DeixisError, match="is int; a sentence"):
        segmenter()._encode(["red", 3])


def test_a_broken_photo_is_one_sentence(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    for content in (b"not an image", whole.getvalue()[:3000], b""):
        with pytest.raises(DeixisError, match="image"):
            segmenter()(content, "red")
    with pytest.raises(DeixisError, match=r"There is no file .*absent\.png"):
        segmenter()(tmp_path / "absent.png", "red")


def test_weights_that_are_no_numbers_are_named() -> None:
    one = segmenter()
    nn.init.constant_(one.system.gain, float("nan"))
    with pytest.raises(DeixisError, match=r"'colours' answers with numbers that are not finite"):
        one(photo(), "red")


def test_half_precision_answers_nearly_the_same() -> None:
    exact, half = segmenter()(photo(), "red"), segmenter(dtype=torch.bfloat16)(photo(), "red")
    assert half.probability.dtype == np.float32
    assert np.abs(exact.probability - half.probability).max() < 0.05


def test_nothing_is_kept_for_a_backward_pass() -> None:
    one = segmenter()
    assert not one.system.training
    prediction = one(photo(), "red")
    assert one.system.gain.grad is None
    assert isinstance(prediction.evidence["similarity"], np.ndarray)


def test_the_batch_that_a_system_sees_can_be_had() -> None:
    one = segmenter()
    batch = one.batch(photo(), ["red", "the blue thing"])
    assert batch.images.shape == (1, 1, 3, 32, 32)
    assert batch.expressions == ("red", "the blue thing")
    assert batch.sizes == ((60, 90), (60, 90))
    logits = one.system(batch).logits
    assert ((logits[0] > 0).float().mean().item()) == pytest.approx(one(photo(), "red").mask.mean(), abs=0.02)


def test_one_sentence_is_no_list_of_letters() -> None:
    one = segmenter()
    assert [prediction.expression for prediction in one.stream(photo(), "the red")] == ["the red"]
    assert one.batch(photo(), "the red").expressions == ("the red",)


MISTAKEN = """
import io, numpy, deixis
segmenter, picture = deixis.load(device="cpu"), numpy.zeros((8, 8, 3), numpy.uint8)
for image, said in ((io.BytesIO(b""), "it"), (bytearray(4), "it"), (picture, None), (picture, 5), (picture, [b"it"])):
    try:
        segmenter(image, said)
    except deixis.DeixisError as error:
        print(error)
"""


def test_what_is_neither_image_nor_sentence_is_called_by_its_type() -> None:
    """Without the checker of types that these tests run under."""
    told = subprocess.run([sys.executable, "-c", MISTAKEN], check=True, capture_output=True, text=True).stdout
    image, sentence = "a path, bytes, a Pillow image or an array of pixels is wanted.", "a sentence as text"
    assert told.splitlines() == [
        f"An image is BytesIO; {image}",
        f"An image is bytearray; {image}",
        f"An expression is NoneType; {sentence}, or a list of them, is wanted.",
        f"An expression is int; {sentence}, or a list of them, is wanted.",
        f"An expression is bytes; {sentence} is wanted.",
    ]
