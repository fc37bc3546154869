"""Every kind of image is read as the same upright RGB pixels; anything else is one sentence."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.data import images as visuals
from deixis.data.images import ImageArray, ImageFile, open_image
from deixis.errors import DeixisError, InputError

GENERATOR = np.random.default_rng(0)
COLOURS = GENERATOR.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = GENERATOR.integers(0, 256, (6, 9), dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str = "picture.png", **options: object) -> Path:
    path = folder / name
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def three(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=-1)


def test_colours_come_back_as_they_are_from_every_source(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS))
    for source in (path, str(path), path.read_bytes(), Image.fromarray(COLOURS), COLOURS):
        np.testing.assert_array_equal(open_image(source), COLOURS)


def test_grey_and_one_bit_images_become_three_channels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_image(saved(tmp_path, Image.fromarray(GREY))), three(GREY))
    bits = GREY > 128
    np.testing.assert_array_equal(open_image(saved(tmp_path, Image.fromarray(bits))), three(bits * np.uint8(255)))
    np.testing.assert_array_equal(open_image(GREY), three(GREY))
    np.testing.assert_array_equal(open_image(GREY[..., None]), three(GREY))


def test_transparent_parts_lie_on_white(tmp_path: Path) -> None:
    alpha = np.full((6, 9, 1), 255, dtype=np.uint8)
    alpha[:3] = 0
    image = Image.fromarray(np.concatenate([COLOURS, alpha], axis=2))
    expected = COLOURS.copy()
    expected[:3] = 255
    np.testing.assert_array_equal(open_image(saved(tmp_path, image)), expected)
    np.testing.assert_array_equal(open_image(np.asarray(image)), expected)
    both = image.convert("LA")
    seen = open_image(saved(tmp_path, both))
    assert (seen[:3] == 255).all()
    np.testing.assert_array_equal(seen[3:], three(np.asarray(both)[3:, :, 0]))


def test_palettes_with_and_without_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray((GREY // 100).astype(np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90] + [0] * 759)
    index = np.asarray(image)
    table = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    np.testing.assert_array_equal(open_image(saved(tmp_path, image)), table[index])
    seen = open_image(saved(tmp_path, image, transparency=1))
    assert (seen[index == 1] == 255).all()
    np.testing.assert_array_equal(seen[index != 1], table[index[index != 1]])


def test_sixteen_bits_keep_their_upper_byte(tmp_path: Path) -> None:
    deep = (GREY.astype(np.uint16) << 8) | GREY
    path = saved(tmp_path, Image.fromarray(deep))
    np.testing.assert_array_equal(open_image(path), three(GREY))
    np.testing.assert_array_equal(open_image(deep), three(GREY))
    np.testing.assert_array_equal(open_image(saved(tmp_path, Image.fromarray(deep), "picture.tif")), three(GREY))


def test_thirty_two_bit_integers_and_floats_are_brought_to_eight(tmp_path: Path) -> None:
    whole = saved(tmp_path, Image.fromarray(GREY.astype(np.int32) * 257), "whole.tif")
    np.testing.assert_array_equal(open_image(whole), three(GREY))
    real = saved(tmp_path, Image.fromarray(GREY.astype(np.float32) / 255), "real.tif")
    np.testing.assert_array_equal(open_image(real), three(GREY))
    np.testing.assert_array_equal(open_image(COLOURS / 255.0), COLOURS)


def test_printers_colours_are_converted(tmp_path: Path) -> None:
    image = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
    seen = open_image(saved(tmp_path, image, "picture.jpg", quality=95))
    assert seen.shape == (3, 4, 3)
    assert (seen[..., 0] > 200).all()
    assert (seen[..., 1:] < 60).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_stands_upright_and_says_its_upright_size(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOURS), exif=exif)
    turns = [
        COLOURS,
        COLOURS[:, ::-1],
        COLOURS[::-1, ::-1],
        COLOURS[::-1],
        COLOURS.transpose(1, 0, 2),
        np.rot90(COLOURS, -1),
        COLOURS[::-1, ::-1].transpose(1, 0, 2),
        np.rot90(COLOURS, 1),
    ]
    expected = turns[orientation - 1]
    picture = ImageFile(path)
    np.testing.assert_array_equal(picture.read()[0], expected)
    assert picture.size == expected.shape[:2]


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)))
    assert open_image(path).tolist() == [[[1, 2, 3]]]
    assert ImageArray(np.zeros((1, 1, 3), dtype=np.uint8)).size == (1, 1)


def test_the_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS))
    path.write_bytes(path.read_bytes()[:60])
    assert ImageFile(path).size == (6, 9)
    with pytest.raises(DeixisError, match="truncated"):
        ImageFile(path).read()


def flat_png(width: int, height: int) -> bytes:
    """The header and the first rows of a grey picture of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_it_unfolds_and_the_limit_of_others_stays(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "bomb.png").write_bytes(flat_png(20_001, 10_000))
    with pytest.raises(DeixisError, match=r"bomb\.png has 20001x10000"):
        open_image(tmp_path / "bomb.png")
    assert limit == Image.MAX_IMAGE_PIXELS
    assert visuals.MAX_PIXELS >= 12_000 * 9_000


def test_a_scan_beyond_pillows_own_limit_is_not_taken_for_a_bomb() -> None:
    with pytest.raises(DeixisError, match="truncated"):  # its rows are missing, which only reading can tell
        open_image(flat_png(19_000, 10_000))


@pytest.mark.slow
def test_twelve_thousand_by_nine_thousand_pixels_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (12_000, 9_000), 7), compress_level=1)
    pixels = open_image(path)
    assert pixels.shape == (9_000, 12_000, 3)
    assert (pixels == 7).all()


def test_what_is_not_an_image_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    whole = io.BytesIO()
    Image.fromarray(GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "JPEG")
    wrong: list[tuple[object, str]] = [
        (tmp_path / "absent.png", "There is no file"),
        (tmp_path, "is a folder"),
        (tmp_path / "text.jpg", "is not an image"),
        (b"", "given as bytes is not an image"),
        (whole.getvalue()[:1500], "given as bytes is a broken or truncated image"),
        (np.zeros((4, 4, 5), dtype=np.uint8), "has shape"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "has shape"),
        (np.zeros((4, 4), dtype=bool), "has type bool"),
    ]
    for source, sentence in wrong:
        with pytest.raises(DeixisError, match=sentence) as error:
            open_image(source)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


def test_a_file_that_pillow_would_open_with_another_program_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS), "cat.jpg", format="EPS")
    sentence = r"cat\.jpg is not an image that Pillow can read; convert it to PNG or JPEG\."
    for read in (lambda: open_image(path), ImageFile(path).read, lambda: ImageFile(path).size):
        with pytest.raises(DeixisError, match=sentence):
            read()
    with pytest.raises(DeixisError, match="given as bytes is not an image"):
        open_image(path.read_bytes())


@pytest.mark.parametrize("ending", ["png", "jpg", "mpo", "webp", "tif", "bmp", "gif", "ppm", "jp2", "avif"])
def test_photos_of_every_usual_format_are_read_whatever_their_names_are(tmp_path: Path, ending: str) -> None:
    Image.init()
    kind = Image.EXTENSION.get(f".{ending}")
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {ending}")
    path = saved(tmp_path, Image.new("RGB", (16, 12), (250, 250, 250)), "photo", format=kind)
    seen = open_image(path)
    assert seen.shape == (12, 16, 3)
    assert (seen > 240).all()
    assert ImageFile(path).size == (12, 16)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("block", [b"MM\0*\0\0", b"MM\0*\0\0\0\x08\0\x05\x01\x12", b"no block at all", b""])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_photo_whose_exif_is_broken_is_read_unturned(tmp_path: Path, kind: str, block: bytes) -> None:
    path = saved(tmp_path, Image.new("RGB", (9, 6)), "photo", format=kind, exif=b"Exif\0\0" + block)
    assert open_image(path).shape == (6, 9, 3)
    assert ImageFile(path).size == (6, 9)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_turned_tiff_says_its_upright_size(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOURS), "photo.tiff", exif=exif)
    assert ImageFile(path).size == open_image(path).shape[:2] == ((9, 6) if orientation == 6 else (6, 9))


@pytest.mark.parametrize("error", [RuntimeError("Failed to decode image"), Image.DecompressionBombError("too many")])
def test_what_pillow_says_only_when_pixels_are_read_is_one_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load(image: Image.Image) -> None:
        raise error

    path = saved(tmp_path, Image.fromarray(COLOURS), "photo.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(DeixisError, match=rf"broken or truncated image \({error}\)"):
        open_image(path)


def test_pixels_in_memory_are_a_still() -> None:
    picture = ImageArray(COLOURS)
    assert picture.size == (6, 9)
    np.testing.assert_array_equal(picture.read(), COLOURS[None])


@pytest.mark.parametrize("address", ["https://a.b/c.jpg", "http://a.b/c.jpg", "s3://bucket/c.png"])
def test_an_address_is_named_as_one(address: str) -> None:
    for source in (address, Path(address)):
        with pytest.raises(DeixisError, match="is an address; download the image and give the path of the copy"):
            open_image(source)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo"])
def test_a_git_lfs_pointer_is_named_as_one(tmp_path: Path, name: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"
    (tmp_path / name).write_text(pointer)
    for read in (lambda: open_image(tmp_path / name), lambda: ImageFile(tmp_path / name).size):
        with pytest.raises(DeixisError, match="is a Git LFS pointer, not the image itself; run `git lfs pull`"):
            read()


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heif_without_its_extra_says_how_to_install_it(tmp_path: Path, brand: bytes) -> None:
    if "HEIF" in Image.OPEN:
        pytest.skip("HEIF is installed")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(30))
    with pytest.raises(DeixisError, match=r"is HEIF; install it with `pip install deixis\[heif\]`"):
        open_image(tmp_path / "a.heic")


def test_reading_leaves_pillows_global_limit_alone_for_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert open_image(saved(tmp_path, Image.fromarray(COLOURS))).shape == (6, 9, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_can_be_ignored(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(ImageFile(path, ignore_exif=True).read()[0], COLOURS)
    assert ImageFile(path, ignore_exif=True).size == (6, 9)
    assert ImageFile(path).is_turned == (orientation != 3)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_one_value_a_little_above_one_does_not_blacken_the_photo(kind: type) -> None:
    values = (COLOURS / 255).astype(kind)
    values[0, 0, 0], values[1, 1, 1] = 1.01, -0.001
    expected = COLOURS.copy()
    expected[0, 0, 0], expected[1, 1, 1] = 255, 0
    np.testing.assert_array_equal(open_image(values), expected)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values * 255, "floats from 0 to 1: divide the array"),
        (lambda values: values + 0.5, "floats from 0 to 1: divide the array"),
        (lambda values: values - 0.5, "none below 0: undo the normalisation"),
        (lambda values: values * 2 - 1, "none below 0: undo the normalisation"),
        (lambda values: np.where(values > 0.9, np.nan, values), "values that are not finite numbers"),
        (lambda values: np.where(values > 0.9, np.inf, values), "values that are not finite numbers"),
        (lambda values: np.where(values > 0.9, -np.inf, values), "values that are not finite numbers"),
        (lambda values: (values * 255).astype(np.int16) - 100, "none below 0"),
        (lambda values: (values * 300).astype(np.int64), "integers from 0 to 255"),
        (lambda values: (values * 255).astype(np.uint16), "if they are of 8 bits"),
    ],
)
def test_values_whose_range_is_not_certain_are_refused(
    change: Callable[[np.ndarray], np.ndarray], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        open_image(change(COLOURS / 255))
    with pytest.raises(InputError, match=sentence):
        open_image(torch.from_numpy(change(COLOURS / 255)))


@pytest.mark.parametrize("shape", [(3, 6, 9), (4, 6, 9), (1, 6, 9)])
def test_an_array_with_its_channels_first_is_refused_with_the_fix(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"channels first; .* use array\.transpose\(1, 2, 0\)"):
        open_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_tensors_are_read_with_their_channels_first_or_last(kind: torch.dtype) -> None:
    tensor = torch.from_numpy(COLOURS) if kind == torch.uint8 else torch.from_numpy(COLOURS / 255).to(kind)
    for given in (tensor, tensor.permute(2, 0, 1), tensor.permute(2, 0, 1).contiguous()):
        np.testing.assert_array_equal(open_image(given), COLOURS)
    np.testing.assert_array_equal(open_image(tensor[..., 0]), three(COLOURS[..., 0]))
    np.testing.assert_array_equal(open_image(tensor[None, ..., 0]), three(COLOURS[..., 0]))


def test_tensors_with_gradients_or_in_bfloat16_are_read() -> None:
    np.testing.assert_array_equal(open_image(torch.from_numpy(COLOURS / 255).requires_grad_()), COLOURS)
    assert (open_image(torch.ones(3, 5, 7, dtype=torch.bfloat16)) == 255).all()


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((3, 5, 3), "the first or the last axis"), ((2, 3, 5, 5), "or a list of images"), ((5, 5, 5), "has shape")],
)
def test_tensors_whose_axes_are_not_certain_are_refused(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_image(torch.zeros(shape))


def test_open_files_are_read_from_their_beginning(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS))
    memory = io.BytesIO()
    Image.fromarray(COLOURS).save(memory, "PNG")  # which leaves the position at the end
    with path.open("rb") as file, path.open("rb", buffering=0) as unbuffered:
        for source in (memory, memory, file, unbuffered):
            np.testing.assert_array_equal(open_image(source), COLOURS)


def test_open_files_that_hold_no_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("text")
    with path.open() as file, pytest.raises(InputError, match="opened as text; open it with mode 'rb'"):
        open_image(file)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="open file cannot be read"):
        open_image(file)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is not an image"):
        open_image(io.BytesIO(b""))


@pytest.mark.parametrize("source", [bytes, io.BytesIO, Path])
def test_heif_photos_are_read_with_the_extra(tmp_path: Path, source: type) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    path = tmp_path / "photo.heic"
    Image.new("RGB", (64, 48), (200, 40, 40)).save(path, format="HEIF", quality=95)
    visuals._formats.cache_clear()
    pixels = open_image(path if source is Path else source(path.read_bytes()))
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - (200, 40, 40)).max() < 12
    assert ImageFile(path).size == (48, 64)
