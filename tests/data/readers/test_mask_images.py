"""Masks as image files, in every mode and format that people save them in, and files that are not certain."""

import colorsys
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from deixis import masks
from deixis.data.readers.mask_images import ReadMask, read_mask_image
from deixis.errors import DeixisError

Rows = np.ndarray
BLOCK = np.zeros((120, 160), dtype=bool)
BLOCK[30:70, 40:100] = True
Y, X = np.mgrid[:120, :160]
DISC = (X - 80) ** 2 + (Y - 60) ** 2 <= 30**2
SHAPES = {"block": BLOCK, "disc": DISC, "wide": ((X - 90) / 60) ** 2 + ((Y - 40) / 25) ** 2 <= 1}


def grey(mask: Rows, value: int = 255) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * np.uint8(value))


def coloured(mask: Rows, colour: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(mask[..., None] * np.array(colour, dtype=np.uint8))


def palette(index: Rows, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.new("P", index.shape[::-1])
    image.putdata(index.astype(np.uint8).ravel().tolist())
    image.putpalette([part for colour in colours for part in colour])
    return image


def with_alpha(colours: Any, alpha: Rows) -> Image.Image:
    flat = np.broadcast_to(np.asarray(colours, dtype=np.uint8), (*alpha.shape, 3))
    return Image.fromarray(np.dstack([flat, alpha]).astype(np.uint8))


def noise(mask: Rows) -> Rows:
    return np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)


def blurred(mask: Rows, radius: float = 1) -> Image.Image:
    return grey(mask).filter(ImageFilter.GaussianBlur(radius))


def recompressed(mask: Rows, quality: int) -> Image.Image:
    stream = io.BytesIO()
    grey(mask).save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue()))


def read(folder: Path, image: Image.Image, suffix: str = "png", label: Any = None, **options: Any) -> ReadMask:
    path = folder / f"mask.{suffix}"
    image.save(path, **options)
    return read_mask_image(path, (image.height, image.width), "line 1", label)


EXACT: dict[str, Callable[[Rows], tuple[Image.Image, str, dict[str, Any]]]] = {
    "grey": lambda m: (grey(m), "png", {}),
    "grey 0/1": lambda m: (grey(m, 1), "png", {}),
    "grey 0/7": lambda m: (grey(m, 7), "png", {}),
    "one bit": lambda m: (Image.fromarray(m), "png", {}),
    "sixteen bits": lambda m: (Image.fromarray(m.astype(np.uint16) * 65535), "png", {}),
    "thirty-two bits": lambda m: (Image.fromarray(m.astype(np.int32) * 9), "tif", {}),
    "floats": lambda m: (Image.fromarray(m.astype(np.float32)), "tif", {}),
    "white RGB": lambda m: (grey(m).convert("RGB"), "png", {}),
    "red RGB": lambda m: (coloured(m, (255, 0, 0)), "png", {}),
    "dark green RGB": lambda m: (coloured(m, (0, 9, 0)), "png", {}),
    "CMYK": lambda m: (grey(m).convert("RGB").convert("CMYK"), "tif", {}),
    "palette, black is 0": lambda m: (palette(m, (0, 0, 0), (255, 255, 255)), "png", {}),
    "palette, white is 0": lambda m: (palette(~m, (255, 255, 255), (0, 0, 0)), "png", {}),
    "palette of a label": lambda m: (palette(m, (0, 0, 0), (128, 0, 0)), "png", {}),
    "quantize(2) of grey": lambda m: (grey(m).quantize(2), "png", {}),
    "quantize(2) of RGB": lambda m: (grey(m).convert("RGB").quantize(2), "png", {}),
    "RGBA, opaque": lambda m: (grey(m).convert("RGBA"), "png", {}),
    "LA, opaque": lambda m: (grey(m).convert("LA"), "png", {}),
    "RGBA, evenly half transparent": lambda m: (with_alpha(coloured(m, (9, 9, 9)), np.full(m.shape, 128)), "png", {}),
    "black with alpha": lambda m: (with_alpha((0, 0, 0), m * 255), "png", {}),
    "white with alpha": lambda m: (with_alpha((255, 255, 255), m * 255), "png", {}),
    "red with half alpha": lambda m: (with_alpha((255, 0, 0), m * 128), "png", {}),
    "LA, white with alpha": lambda m: (Image.merge("LA", (grey(m | True), grey(m))), "png", {}),
    "LA, black with alpha": lambda m: (Image.merge("LA", (grey(m & False), grey(m))), "png", {}),
    "palette with a transparent colour": lambda m: (
        palette(m, (255, 255, 255), (255, 255, 255)),
        "png",
        {"transparency": 0},
    ),
    "palette, transparent background": lambda m: (palette(m, (9, 9, 9), (200, 1, 1)), "png", {"transparency": 0}),
    "photo cut out": lambda m: (with_alpha(noise(m), m * 255), "png", {}),
    "black cut out of white": lambda m: (with_alpha((~m[..., None]) * 255, m * 255), "png", {}),
    "mask cut out": lambda m: (with_alpha(m[..., None] * 255, (Y > 2) * 255), "png", {}),
    "GIF": lambda m: (grey(m), "gif", {}),
    "BMP": lambda m: (grey(m), "bmp", {}),
    "PBM": lambda m: (Image.fromarray(m), "pbm", {}),
    "lossless WebP": lambda m: (grey(m), "webp", {"lossless": True}),
}
LOSSY: dict[str, Callable[[Rows], tuple[Image.Image, str, dict[str, Any]]]] = {
    **{f"JPEG {q}": lambda m, q=q: (grey(m), "jpg", {"quality": q}) for q in (95, 75, 40)},  # type: ignore[misc]
    "red JPEG": lambda m: (coloured(m, (255, 0, 0)), "jpg", {"quality": 75}),
    **{f"WebP {q}": lambda m, q=q: (grey(m), "webp", {"quality": q}) for q in (90, 50)},  # type: ignore[misc]
    **{f"JPEG {q}, then PNG": lambda m, q=q: (recompressed(m, q), "png", {}) for q in (95, 40)},  # type: ignore[misc]
    "blurred": lambda m: (blurred(m), "png", {}),
    "soft alpha": lambda m: (with_alpha((9, 9, 9), np.asarray(blurred(m))), "png", {}),
    "soft LA": lambda m: (Image.merge("LA", (grey(m | True), blurred(m))), "png", {}),
    "enlarged and reduced": lambda m: (
        grey(m).resize((320, 240), Image.Resampling.LANCZOS).resize((160, 120), Image.Resampling.BICUBIC),
        "png",
        {},
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("save", EXACT.values(), ids=EXACT)
def test_lossless_masks_are_read_exactly(tmp_path: Path, shape: Rows, save: Any) -> None:
    image, suffix, options = save(shape)
    found = read(tmp_path, image, suffix, **options)
    np.testing.assert_array_equal(masks.decode(found.rle), shape)
    assert not found.cut


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("save", LOSSY.values(), ids=LOSSY)
def test_blurred_edges_are_cut_at_half_of_the_largest_value(tmp_path: Path, shape: Rows, save: Any) -> None:
    image, suffix, options = save(shape)
    found = read(tmp_path, image, suffix, **options)
    pixels = masks.decode(found.rle)
    assert abs(int(pixels.sum()) - int(shape.sum())) <= 0.01 * shape.sum()
    assert (pixels ^ shape).sum() <= 0.02 * shape.sum()
    assert found.cut or np.array_equal(pixels, shape)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_an_antialiased_outline_is_not_a_label(tmp_path: Path, factor: int) -> None:
    large = Image.new("L", (160 * factor, 120 * factor))
    ImageDraw.Draw(large).ellipse((50 * factor, 30 * factor, 110 * factor, 90 * factor), fill=255)
    small = large.resize((160, 120), Image.Resampling.BOX)
    found = read(tmp_path, small)
    np.testing.assert_array_equal(masks.decode(found.rle), np.asarray(small) > 127)
    assert found.cut


def test_empty_and_full_masks_are_read(tmp_path: Path) -> None:
    for mask in (BLOCK & False, BLOCK | True):
        for image in (grey(mask), grey(mask).convert("RGB"), grey(mask).convert("RGBA"), Image.fromarray(mask)):
            np.testing.assert_array_equal(masks.decode(read(tmp_path, image).rle), mask)
    assert masks.area(read(tmp_path, Image.new("RGBA", (160, 120), (0, 0, 0, 0))).rle) == 0


LABELS = np.zeros((120, 160), dtype=np.uint8)
LABELS[10:40, 10:60], LABELS[50:90, 20:80], LABELS[60:110, 100:150] = 1, 2, 3
GRID = np.zeros((120, 160), dtype=np.uint8)
for _number in range(20):
    _top, _left = _number // 5 * 30 + 3, _number % 5 * 32 + 3
    GRID[_top : _top + 24, _left : _left + 26] = _number + 1
HUES = np.array([[0, 0, 0], *[[int(255 * part) for part in colorsys.hsv_to_rgb(k / 20, 1, 1)] for k in range(20)]])
VOC = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
LINE = np.where(Y == 10, 128, BLOCK * 255).astype(np.uint8)
SMOOTH = Image.fromarray(noise(np.zeros((12, 16)))).resize((160, 120), Image.Resampling.BICUBIC)
UNCLEAR = {
    "labels": (Image.fromarray(LABELS), "0, 1, 2, 3"),
    "two labels": (Image.fromarray(np.where(LABELS == 3, 0, LABELS).astype(np.uint8)), "0, 1, 2"),
    "scaled labels": (Image.fromarray(LABELS * np.uint8(80)), "0, 80, 160, 240"),
    "labels and 255 for ignored pixels": (
        Image.fromarray(np.where(LABELS == 3, 255, LABELS).astype(np.uint8)),
        "0, 1, 2, 255",
    ),
    "sixteen-bit instances": (Image.fromarray(LABELS.astype(np.uint16) * 1000), "0, 1000, 2000, 3000"),
    "a palette of labels": (palette(LABELS, *VOC), "0, 1, 2, 3"),
    "colours of labels": (palette(LABELS, *VOC).convert("RGB"), r"\[0, 0, 0\], \[0, 128, 0\]"),
    "twenty labels": (Image.fromarray(GRID), "and 13 more"),
    "twenty scaled labels": (Image.fromarray(GRID * np.uint8(12)), "and 13 more"),
    "twenty hues": (Image.fromarray(HUES[GRID].astype(np.uint8)), "and 13 more"),
    "a thin second label": (Image.fromarray(LINE), "0, 128, 255"),
    "no background": (Image.fromarray(BLOCK.astype(np.uint8) + 1), "1, 2"),
    "red on white": (Image.fromarray(np.where(BLOCK[..., None], [255, 0, 0], 255).astype(np.uint8)), "255, 0, 0"),
    "a photo": (SMOOTH, "more"),
    "a grey photo": (SMOOTH.convert("L"), "more"),
    "two labels cut out": (with_alpha(HUES[LABELS], (Y > 2) * 255), r"\[0, 0, 0\], \[255, 0, 0\]"),
}


@pytest.mark.parametrize(("image", "values"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_not_certain_is_refused_with_its_values(tmp_path: Path, image: Image.Image, values: str) -> None:
    with pytest.raises(DeixisError, match=rf'line 1: the mask mask\.png has several values.*{values}.*"label"'):
        read(tmp_path, image)


@pytest.mark.parametrize("quality", [95, 75])
def test_lossy_colours_of_several_labels_are_refused(tmp_path: Path, quality: int) -> None:
    with pytest.raises(DeixisError, match="several values"):
        read(tmp_path, Image.fromarray(HUES[GRID].astype(np.uint8)), "jpg", quality=quality)


def test_colours_below_full_transparency_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeixisError, match="is wholly transparent, but has several colours below"):
        read(tmp_path, with_alpha(BLOCK[..., None] * 255, BLOCK * 0))


@pytest.mark.parametrize(
    ("image", "label", "truth"),
    [
        (Image.fromarray(LABELS), 3, LABELS == 3),
        (Image.fromarray(LABELS), "any", LABELS > 0),
        (Image.fromarray(LABELS), [2, 2, 2], LABELS == 2),
        (Image.fromarray(LABELS.astype(np.uint16) * 1000), 2000, LABELS == 2),
        (palette(LABELS, *VOC), 2, LABELS == 2),
        (palette(LABELS, *VOC), 0, LABELS == 0),
        (palette(LABELS, *VOC), "any", LABELS > 0),
        (palette(LABELS, *VOC), [128, 128, 0], LABELS == 3),
        (palette(~BLOCK, (255, 255, 255), (0, 0, 0)), 1, ~BLOCK),
        (palette(LABELS, *VOC).convert("RGB"), [0, 128, 0], LABELS == 2),
        (palette(LABELS, *VOC).convert("RGBA"), [128, 0, 0], LABELS == 1),
        (Image.fromarray(np.where(BLOCK[..., None], [255, 0, 0], 255).astype(np.uint8)), [255, 0, 0], BLOCK),
    ],
)
def test_a_label_chooses_value_index_or_colour(tmp_path: Path, image: Image.Image, label: Any, truth: Rows) -> None:
    np.testing.assert_array_equal(masks.decode(read(tmp_path, image, label=label).rle), truth)


@pytest.mark.parametrize(
    ("image", "label", "sentence"),
    [
        (Image.fromarray(LABELS), 9, "has no pixel with the label 9; there are 0, 1, 2, 3"),
        (palette(LABELS, *VOC), 9, "has no pixel with the label 9; there are 0, 1, 2, 3"),
        (palette(LABELS, *VOC).convert("RGB"), 1, r"has colours, but its record has the label 1; give a colour: \[0"),
        (Image.fromarray(LABELS), "cup", "has the label 'cup' in its record; expected a number"),
        (Image.fromarray(LABELS), True, "has the label True in its record; expected a number"),
        (Image.fromarray(LABELS), [1, 2], r"has the label \[1, 2\] in its record; expected a number"),
    ],
)
def test_a_label_that_is_not_there_is_a_sentence(tmp_path: Path, image: Image.Image, label: Any, sentence: str) -> None:
    with pytest.raises(DeixisError, match=sentence):
        read(tmp_path, image, label=label)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_random_scenes_survive_every_mask_format(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    mask = np.zeros((120, 160), dtype=bool)
    for _ in range(data.draw(st.integers(1, 3))):
        left, top = data.draw(st.integers(0, 110)), data.draw(st.integers(0, 80))
        width, height = data.draw(st.integers(24, 50)), data.draw(st.integers(24, 40))
        x, y = (X - left) / width - 0.5, (Y - top) / height - 0.5
        mask |= x**2 + y**2 <= 0.25 if data.draw(st.booleans()) else np.maximum(abs(x), abs(y)) <= 0.5
    kind = data.draw(st.sampled_from([*EXACT, *LOSSY]))
    image, suffix, options = (EXACT | LOSSY)[kind](mask)
    found = masks.decode(read(tmp_path_factory.mktemp("scene"), image, suffix, **options).rle)
    if kind in EXACT:
        if kind == "mask cut out":
            mask &= Y > 2
        np.testing.assert_array_equal(found, mask)
    else:
        assert abs(int(found.sum()) - int(mask.sum())) <= 0.01 * mask.sum()
