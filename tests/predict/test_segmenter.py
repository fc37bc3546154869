"""The Segmenter: any photo and any sentences in, Predictions at the photo's own size out."""

import io
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deixis
from deixis.batch import Batch, Output
from deixis.checkpoints.native import read_card
from deixis.data.transforms import Preprocess
from deixis.errors import DeixisError, InputError, ModelError
from deixis.predict.expressions import for_each
from deixis.predict.segmenter import Segmenter
from deixis.predict.torch_network import LARGEST_BATCH_OF_A_CPU
from deixis.records import MaskRule
from deixis.text.tokenizer import Tokenizer
from deixis.zoo.bundled import BUNDLED_MODELS
from tests.processes import start

LIMIT = 8
WORDS = Tokenizer(["[PAD]", "[CLS]", "[SEP]", "red", "green", "blue", "[UNK]", "the", "thing"])  # colours are 3 to 5


class ColourSystem(nn.Module):
    """Finds pixels of the colour that is named; records the images and expressions of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))
        self.batches: list[tuple[int, int]] = []

    def forward(self, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False) -> Output:
        self.batches.append((len(batch.images), len(batch)))
        pixels = batch.expand(batch.images[:, 0])  # 0 to 1: the preprocess of these tests does not normalise
        named = torch.stack([(batch.token_ids == number).any(1) for number in (3, 4, 5)], dim=1).to(pixels.dtype)
        chosen = (pixels * named[..., None, None]).sum(1)
        others = (pixels * (1 - named[..., None, None])).amax(1)
        logits = self.gain * (chosen - others - 0.5)
        if not explain:
            return Output(logits=logits)
        grid = nn.functional.adaptive_avg_pool2d(pixels, 4)[:, :1].repeat(1, batch.token_ids.shape[1], 1, 1)
        return Output(logits=logits, evidence={"similarity": grid, "selected": grid > 0.5})

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {}


class LateColours(ColourSystem):
    """The same, with a vision half of its own; counts the images that it encodes."""

    encoded = 0

    def encode_images(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return images.clone()

    def decode_expressions(
        self, encoded: Tensor, batch: Batch, *, features: tuple[str, ...] = (), explain: bool = False
    ) -> Output:
        assert torch.equal(encoded, batch.images)
        return ColourSystem.forward(self, batch, features=features, explain=explain)

    def forward(self, batch: Batch, **options: Any) -> Output:
        return self.decode_expressions(self.encode_images(batch.images), batch, **options)


@dataclass(frozen=True)
class Card:
    mask_rule: MaskRule


@dataclass(frozen=True)
class LimitedCard(Card):
    domain: str


def segmenter(system: nn.Module | None = None, fit: Any = "stretch", **changes: Any) -> Segmenter:
    preprocess = Preprocess(image_size=32, max_tokens=LIMIT, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fit=fit)
    return Segmenter(system or ColourSystem(), WORDS, preprocess, name="colours", **changes)


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


def test_a_list_gives_the_predictions_of_its_sentences_one_by_one() -> None:
    one, sentences = segmenter(), ["red", "blue", "the green", "red blue thing"] * 5
    together = one(photo(), sentences)
    assert [each.expression for each in together] == sentences
    for sentence, prediction in zip(sentences, together, strict=True):
        alone = one(photo(), sentence)
        assert (alone.mask == prediction.mask).all()
        assert np.allclose(alone.probability, prediction.probability, atol=1e-6)
        assert alone.score == pytest.approx(prediction.score, abs=1e-6)
        assert alone.tokens == prediction.tokens[: len(alone.tokens)]
        assert set(prediction.tokens[len(alone.tokens) :]) <= {"[PAD]"}


def test_the_sentences_of_a_chunk_share_one_pass_over_the_image() -> None:
    one = segmenter()
    one(photo(), ["red"] * (LARGEST_BATCH_OF_A_CPU + 3))
    assert one.system.batches == [(1, LARGEST_BATCH_OF_A_CPU), (1, 3)]
    assert one(photo(), []) == []


def test_a_stream_yields_each_prediction_before_computing_more_and_keeps_none() -> None:
    one, sentences = segmenter(), ["red", "blue", "the green", "red blue thing", "the red", "the blue"]
    together = one(photo(), sentences)
    one.system.batches.clear()
    stream = one.stream(photo(), sentences)
    assert one.system.batches == []
    first = weakref.ref(next(stream))
    assert one.system.batches == [(1, LARGEST_BATCH_OF_A_CPU)]
    assert first() is None
    assert not torch.is_inference_mode_enabled()  # between predictions the caller may train
    for expected, prediction in zip(together[1:], stream, strict=True):
        assert prediction.expression == expected.expression
        assert (prediction.probability == expected.probability).all()


def test_errors_are_raised_before_the_first_of_a_stream_is_requested(tmp_path: Path) -> None:
    one = segmenter()
    with pytest.raises(DeixisError, match="The expression is empty"):
        one.stream(photo(), ["red", " "])
    with pytest.raises(DeixisError, match=r"There is no file .*nowhere\.png"):
        one.stream(tmp_path / "nowhere.png", ["red"])
    with pytest.raises(InputError, match="threshold is 2"):
        one.stream(photo(), ["red"], threshold=2.0)


@pytest.mark.parametrize("system", [ColourSystem, LateColours])
def test_an_image_is_encoded_once_for_as_many_expressions_as_needed(system: type[ColourSystem]) -> None:
    one, sentences = segmenter(system()), ["red", "blue", "the green", "red blue thing"] * 10
    expected = segmenter()(photo(), sentences)
    encoded = one.encode(photo())
    found = [encoded(sentence) for sentence in sentences[:20]] + encoded(sentences[20:])
    assert [each.expression for each in found] == sentences
    for prediction, other in zip(found, expected, strict=True):
        assert (prediction.probability == other.probability).all()
    if isinstance(one.system, LateColours):
        assert one.system.encoded == 1
    assert len(one.system.batches) == 20 + 20 // LARGEST_BATCH_OF_A_CPU
    assert encoded([]) == []
    assert next(encoded.stream(["the red"])).mask.any()


def test_a_list_of_expressions_runs_a_separate_vision_half_once() -> None:
    one = segmenter(LateColours())
    one(photo(), ["red", "blue"] * 20)
    assert one.system.encoded == 1
    one.system.encoded = 0
    batch = one.batch(photo(), ["red", "blue"])
    assert one.system.encoded == 0
    one.predict(batch)  # through the system's forward
    assert one.system.encoded == 1


def test_eight_threads_get_the_bits_of_one() -> None:
    one = segmenter()
    photos = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8) for seed in range(8)]
    sentences = ["red", "the blue thing", "green", "red elephant", "red " * 50]

    def run(number: int) -> list[tuple[bytes, bytes, float, tuple[str, ...]]]:
        found = one(photos[number], sentences[number % 3 :], explain=True)
        return [(p.probability.tobytes(), p.evidence["similarity"].tobytes(), p.score, p.notes) for p in found]

    alone = [run(number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            assert list(threads.map(run, range(8))) == alone


def test_every_form_of_a_photo_gives_the_same_prediction(tmp_path: Path) -> None:
    one, path, stream = segmenter(), tmp_path / "photo.png", io.BytesIO()
    Image.fromarray(photo()).save(path)
    Image.fromarray(photo()).save(stream, "PNG")
    expected = one(photo(), "blue").probability
    for form in (path, str(path), stream.getvalue(), Image.fromarray(photo())):
        assert (one(form, "blue").probability == expected).all()


def test_a_photo_turned_by_exif_is_segmented_upright(tmp_path: Path) -> None:
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


def test_a_padded_photo_gets_the_mask_of_its_own_pixels() -> None:
    """Stretching changes the aspect ratio and padding does not; both find the quarter of a wide photo."""
    wide = photo(40, 160)
    for fit in ("stretch", "pad"):
        found = segmenter(fit=fit)(wide, "blue", explain=True)
        assert found.size == (40, 160)
        assert found.box == pytest.approx((80, 20, 80, 20), abs=5)
        assert found.evidence["similarity"].shape == (3, 4 if fit == "stretch" else 1, 4)


@pytest.mark.slow
def test_a_photo_of_a_hundred_megapixels_is_segmented(tmp_path: Path) -> None:
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
        with pytest.raises(InputError, match="between 0 and 1"):
            segmenter()(photo(), "red", threshold=level)


def test_the_cards_rule_makes_the_mask_and_a_threshold_replaces_its_own() -> None:
    relative = segmenter(card=Card(MaskRule(kind="min-max", threshold=0.9)))
    found = relative(photo(), "red")
    low, high = found.probability.min(), found.probability.max()
    assert (found.mask == (found.probability - low >= np.float32(0.9) * (high - low))).all()
    assert relative(photo(), "red", threshold=0.1).mask.sum() > found.mask.sum()
    half = segmenter(card=Card(MaskRule(kind="half-maximum")))
    assert half(photo(), "red").mask.any()
    with pytest.raises(InputError, match="no threshold; omit"):
        half(photo(), "red", threshold=0.5)


def test_evidence_comes_on_request_with_the_tokens_that_it_describes() -> None:
    assert not segmenter()(photo(), "the red").evidence
    prediction = segmenter()(photo(), ["the blue thing", "the red"], explain=True)[1]
    assert prediction.tokens == ("[CLS]", "the", "red", "[SEP]", "[PAD]")
    assert prediction.evidence["similarity"].shape == (5, 4, 4)
    assert prediction.evidence["selected"].dtype == bool
    assert prediction.evidence["similarity"].dtype == np.float32


def test_cut_sentences_have_a_note() -> None:
    one = segmenter()
    long, short = one(photo(), "red thing " * 200), one(photo(), "red thing")
    assert (long.mask == short.mask).all()
    assert len(long.notes) == 1
    assert long.notes[0].startswith("Only the first 7 tokens of 'red thing red")
    assert short.notes == ()


def test_unknown_words_are_counted_in_a_note() -> None:
    prediction, known = segmenter()(photo(), ["red 茶 杯", "the red"])
    assert prediction.notes == ("The model 'colours' does not know 2 of the words of 'red 茶 杯'.",)
    assert known.notes == ()
    assert prediction.tokens == ("[CLS]", "red", "[UNK]", "[UNK]", "[SEP]")
    assert prediction.mask.any()


@pytest.mark.parametrize("sentence", ["das Stück", "左边的", "ред 🟥", "e\u0301te\u0301", "\u202ethe", "ﬁne 𝕣𝕖𝕕"])
def test_unicode_sentences_are_accepted(sentence: str) -> None:
    prediction = segmenter()(photo(), f"{sentence} red")
    assert prediction.expression == f"{sentence} red"
    assert prediction.mask.any()


def test_bytes_that_are_not_text_become_question_marks(tmp_path: Path) -> None:
    prediction = segmenter()(photo(), "the red caf\udce9")  # Python's reading of a letter in another encoding
    assert prediction.expression == "the red caf?"
    prediction.save(tmp_path)


@pytest.mark.parametrize("sentence", ["", "   ", "\n\t"])
def test_an_empty_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(DeixisError, match="expression is empty"):
        segmenter()(photo(), ["red", sentence])


def test_a_sentence_without_a_word_is_refused() -> None:
    with pytest.raises(DeixisError, match="no word in it"):
        segmenter()(photo(), "\x00\x01")


def test_a_broken_photo_is_one_sentence(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    for content in (b"not an image", whole.getvalue()[:3000], b""):
        with pytest.raises(DeixisError, match="image"):
            segmenter()(content, "red")
    with pytest.raises(DeixisError, match=r"There is no file .*absent\.png"):
        segmenter()(tmp_path / "absent.png", "red")


def test_broken_weights_are_an_error_of_the_model() -> None:
    one = segmenter()
    nn.init.constant_(one.system.gain, float("nan"))
    with pytest.raises(ModelError, match=r"'colours' computes numbers that are not finite"):
        one(photo(), "red")


def test_half_precision_changes_little() -> None:
    exact, half = segmenter()(photo(), "red"), segmenter(dtype=torch.bfloat16)(photo(), "red")
    assert half.probability.dtype == np.float32
    assert np.abs(exact.probability - half.probability).max() < 0.05


def test_nothing_is_kept_for_a_backward_pass() -> None:
    one = segmenter()
    assert not one.system.training
    prediction = one(photo(), "red", explain=True)
    assert one.system.gain.grad is None
    assert isinstance(prediction.evidence["similarity"], np.ndarray)


def test_the_batch_that_the_system_reads_is_available() -> None:
    one = segmenter()
    batch = one.batch(photo(), ["red", "the blue thing"])
    assert batch.images.shape == (1, 1, 3, 32, 32)
    assert batch.expressions == ("red", "the blue thing")
    assert batch.sizes == ((60, 90), (60, 90))
    logits = one.system(batch).logits
    assert ((logits[0] > 0).float().mean().item()) == pytest.approx(one(photo(), "red").mask.mean(), abs=0.02)


def test_one_sentence_is_not_a_list_of_letters() -> None:
    one = segmenter()
    assert [prediction.expression for prediction in one.stream(photo(), "the red")] == ["the red"]
    assert one.batch(photo(), "the red").expressions == ("the red",)


def print_mistakes() -> None:
    segmenter, picture = deixis.load("bundled", device="cpu"), np.zeros((8, 8, 3), np.uint8)
    images: list[Any] = [(io.BytesIO(b""), "it"), (bytearray(4), "it")]
    for image, said in images + [(picture, wrong) for wrong in (None, 5, [b"it"], ["it", 3])]:
        try:
            segmenter(image, said)
        except deixis.DeixisError as error:
            print(error, file=sys.stderr)


def test_wrong_images_and_sentences_are_named_by_their_types() -> None:
    """Without the type checker that these tests run under."""
    code, printed = start(print_mistakes).wait()
    assert code == 0, printed
    lines = printed.splitlines()
    assert lines[0].startswith("The image given as bytes is not an image")
    assert lines[1].startswith("An image is of type bytearray; ")
    sentence = "expected a sentence as text"
    assert lines[2:] == [
        f"An expression is of type NoneType; {sentence}, or a list of them.",
        f"An expression is of type int; {sentence}, or a list of them.",
        f"An expression is of type bytes; {sentence}.",
        f"An expression is of type int; {sentence}.",
    ]


def test_a_list_of_images_takes_one_expression_or_a_list_for_each() -> None:
    one, images = segmenter(), [photo(), photo()[::-1].copy(), photo(30, 40)]
    alone = [one(image, ["red", "blue"]) for image in images]
    both = one(images, [["red", "blue"]] * 3)
    same = one(images, "red")
    for number in range(3):
        assert same[number].mask.tobytes() == both[number][0].mask.tobytes() == alone[number][0].mask.tobytes()
        assert both[number][1].mask.tobytes() == alone[number][1].mask.tobytes()
        assert same[number].size == images[number].shape[:2]
    assert [len(found) for found in one(tuple(images), [["red"], [], ["red", "blue"]])] == [1, 0, 2]
    assert one([], "red") == []


@pytest.mark.parametrize(
    ("expressions", "sentence"),
    [
        (["red", "blue"], "one expression for all images, or a list with one list for each image"),
        ([["red"]], "There are 2 images and 1 lists of expressions"),
        ([["red"], "blue"], "2 images without a list of expressions for each"),
    ],
)
def test_expressions_that_do_not_fit_a_list_of_images_are_refused(expressions: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        for_each([photo(), photo()], expressions)


def test_a_segmenter_and_an_encoded_image_are_one_line() -> None:
    assert repr(segmenter()) == "Segmenter('colours', ColourSystem, cpu, float32)"
    assert repr(segmenter(dtype=torch.bfloat16)) == "Segmenter('colours', ColourSystem, cpu, bfloat16)"
    assert repr(segmenter().encode(photo())) == (
        "EncodedImage(90x60 pixels, Segmenter('colours', ColourSystem, cpu, float32))"
    )


@pytest.mark.parametrize(
    ("domain", "notes"),
    [
        ("drawings", ("The model was trained on drawings; answers on photographs are guesses.",)),
        ("aerial photos", ("The model was trained on aerial photos; answers on other images are guesses.",)),
        ("", ()),
    ],
)
def test_a_model_of_one_domain_says_so_in_its_notes(domain: str, notes: tuple[str, ...]) -> None:
    limited = segmenter(card=LimitedCard(mask_rule=MaskRule(), domain=domain))
    prediction = limited(photo(), "red")
    assert prediction.notes == notes
    assert prediction.present is None
    assert prediction.found
    assert limited(photo(), "red pot").notes[1:] == notes


def test_the_bundled_model_was_trained_on_drawings_and_has_a_presence_head() -> None:
    assert read_card(BUNDLED_MODELS["bundled"].folder).domain == "drawings"
    assert read_card(BUNDLED_MODELS["bundled"].folder).config["presence"] is True
