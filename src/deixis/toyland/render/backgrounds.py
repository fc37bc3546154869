"""Backgrounds: ground and sky, or a room, with textures; a pure function of setting, seed and size."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFilter

from ..scene.scenes import HORIZON, WATERLINE, Scene

Tone = tuple[int, int, int]
NOISE_SIDE = 1024


@lru_cache(maxsize=1)
def _clouds() -> Int[np.ndarray, "h w"]:
    """Fractal noise between about -64 and 64, the texture of every background."""
    rng = np.random.default_rng(1)
    total = np.zeros((NOISE_SIDE, NOISE_SIDE), dtype=np.int16)
    for cells, weight in ((16, 5), (64, 4), (256, 3), (1024, 4)):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
        layer = np.asarray(grid.resize((NOISE_SIDE, NOISE_SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
        total += (layer - 128) * weight // 16
    return total


@lru_cache(maxsize=8)
def grain(strength: int) -> Int[np.ndarray, "h w 3"]:
    """Sensor noise with a standard deviation of about `strength` grey levels, for three channels."""
    rng = np.random.default_rng(2)
    total = rng.integers(-55, 56, (4, NOISE_SIDE, NOISE_SIDE, 3), dtype=np.int16).sum(axis=0, dtype=np.int16)
    return total * np.int16(strength) >> 6


def window(noise: Int[np.ndarray, "..."], row: int, column: int, size: int) -> Int[np.ndarray, "..."]:
    """A square of a noise that repeats periodically."""
    if max(row, column) + size <= NOISE_SIDE:
        return noise[row : row + size, column : column + size]
    rows, columns = np.arange(row, row + size) % NOISE_SIDE, np.arange(column, column + size) % NOISE_SIDE
    return noise.take(rows, axis=0).take(columns, axis=1)


def background(scene: Scene, size: int) -> UInt8[np.ndarray, "h w 3"]:
    """The setting of a scene without things."""
    rng = np.random.default_rng([scene.seed, 30])
    image = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(image)
    horizon = round(HORIZON[scene.setting] * size)
    PAINTERS[scene.setting](draw, rng, size, horizon)
    softened = image.filter(ImageFilter.BoxBlur(max(1, size // 200)))
    return _textured(np.asarray(softened), rng, horizon, GRAIN[scene.setting])


def _textured(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, horizon: int, strengths: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Adds noise with one strength above the horizon and another below."""
    size = len(pixels)
    # The noise has seams where it repeats; an image smaller than the noise avoids them.
    row, column = (int(value) for value in rng.integers(0, max(1, NOISE_SIDE - size), 2))
    texture = window(_clouds(), row, column, size)
    strength = np.where(np.arange(size) < horizon, strengths[0], strengths[1]).astype(np.int16)[:, None]
    return np.clip(pixels + (texture * strength >> 6)[..., None], 0, 255).astype(np.uint8)


def _part(rng: np.random.Generator, size: int, least: float = 0.0, most: float = 1.0) -> int:
    """A random length between two fractions of `size`; it grows with the image."""
    return int(size * (least + (most - least) * rng.random()))


def _mixed(one: Tone, two: Tone, part: int, whole: int) -> Tone:
    """`part` / `whole` of the second colour and the rest of the first."""
    red, green, blue = ((a * (whole - part) + b * part) // whole for a, b in zip(one, two, strict=True))
    return red, green, blue


def _varied(rng: np.random.Generator, tone: Tone, by: int = 12) -> Tone:
    red, green, blue = (max(0, min(255, value + int(rng.integers(-by, by + 1)))) for value in tone)
    return red, green, blue


def _fade(draw: ImageDraw.ImageDraw, top: int, bottom: int, one: Tone, two: Tone, size: int) -> None:
    """A band with a vertical gradient from the first colour to the second."""
    step = max(1, size // 128)
    for y in range(top, bottom, step):
        draw.rectangle((0, y, size, y + step - 1), fill=_mixed(one, two, y - top, max(1, bottom - top)))


def _sky(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int, tone: Tone, low: Tone) -> None:
    _fade(draw, 0, horizon + 2, _varied(rng, tone), _varied(rng, low, 6), size)
    for _ in range(int(rng.integers(2, 5))):
        x, y = _part(rng, size), _part(rng, horizon * 2 // 3)
        for _ in range(4):
            dx, dy = _part(rng, size, -0.1, 0.1), _part(rng, size, -0.016, 0.016)
            wide, high = _part(rng, size, 0.06, 0.12), _part(rng, size, 0.02, 0.04)
            draw.ellipse(
                (x + dx - wide, y + dy - high, x + dx + wide, y + dy + high), fill=_mixed(tone, (255, 255, 255), 5, 8)
            )


def _hills(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int, tone: Tone) -> None:
    for row in range(3):
        shade = _mixed(tone, (196, 212, 222), 2 - row, 4)
        for _ in range(4):
            x, wide = _part(rng, size), _part(rng, size, 0.25, 0.5)
            high = _part(rng, size, 0.04, 0.11) * (4 - row) // 4
            draw.ellipse((x - wide, horizon - high, x + wide, horizon + high), fill=shade)


def _tufts(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int, tone: Tone) -> None:
    """Blades of grass, shorter and denser with distance."""
    for x, near, shade in zip(
        rng.integers(1000, size=150), rng.integers(1000, size=150), rng.integers(12, size=150), strict=True
    ):
        y = horizon + (size - horizon) * int(near) // 1000
        tall = 1 + size * (200 + int(near)) // 40000
        draw.line(
            (int(x), y, int(x) + int(shade) % 3 - 1, y - tall), fill=_mixed(tone, (240, 244, 150), int(shade), 40)
        )


def _meadow(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    _sky(draw, rng, size, horizon, (126, 182, 232), (214, 232, 240))
    _hills(draw, rng, size, horizon, (112, 152, 104))
    grass = _varied(rng, (118, 156, 84))
    _fade(draw, horizon, size, _mixed(grass, (220, 224, 190), 1, 3), _mixed(grass, (60, 100, 44), 1, 3), size)
    _tufts(draw, rng, size, horizon, (92, 134, 62))


def _snow(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    _sky(draw, rng, size, horizon, (158, 182, 206), (222, 228, 236))
    _hills(draw, rng, size, horizon, (176, 192, 208))
    snow = _varied(rng, (216, 224, 234), 6)
    _fade(draw, horizon, size, _mixed(snow, (196, 208, 224), 1, 2), snow, size)
    for _ in range(14):
        x, y = _part(rng, size), horizon + _part(rng, size - horizon)
        wide, high = _part(rng, size, 0.08, 0.25), _part(rng, size, 0.008, 0.03)
        draw.ellipse(
            (x - wide, y - high, x + wide, y + high), fill=_varied(rng, _mixed(snow, (176, 194, 220), 1, 3), 5)
        )


def _beach(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    _sky(draw, rng, size, horizon, (112, 184, 236), (228, 238, 236))
    shore = round(WATERLINE * size)
    _fade(draw, horizon, shore + 2, (54, 118, 158), (116, 184, 190), size)
    for _ in range(40):
        x, y = _part(rng, size), horizon + 1 + _part(rng, shore - horizon - 1)
        wide = (y - horizon) // 3 + 2
        draw.line((x - wide, y, x + wide, y), fill=_mixed((116, 184, 200), (240, 250, 250), int(rng.integers(6)), 8))
    sand = _varied(rng, (222, 200, 154))
    _fade(draw, shore, size, _mixed(sand, (170, 150, 116), 1, 3), sand, size)
    for x in range(-size // 10, size, size // 10):
        dip = _part(rng, size, 0.012, 0.035)
        draw.ellipse((x, shore - dip, x + size // 5, shore + dip), fill=(150, 198, 198))
        draw.arc((x, shore - dip, x + size // 5, shore + dip), 0, 180, fill=(246, 250, 248), width=max(1, size // 128))


def _street(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    _sky(draw, rng, size, horizon, (168, 196, 216), (224, 228, 226))
    x = -_part(rng, size, 0.0, 0.12)
    while x < size:
        wide, high = _part(rng, size, 0.11, 0.25), _part(rng, horizon, 0.33, 0.9)
        wall = _varied(rng, ((176, 150, 136), (160, 160, 164), (190, 178, 154), (146, 130, 126))[int(rng.integers(4))])
        draw.rectangle((x, horizon - high, x + wide, horizon), fill=wall)
        pane, step = max(2, size // 42), max(4, size // 20)
        for left in range(x + step // 2, x + wide - pane, step):
            for top in range(horizon - high + step // 2, horizon - pane, step):
                draw.rectangle((left, top, left + pane, top + pane), fill=_mixed(wall, (60, 74, 92), 3, 5))
        x += wide + _part(rng, size, 0.0, 0.012)
    pavement = horizon + (size - horizon) // 6
    _fade(draw, horizon, pavement, (172, 168, 162), (186, 182, 176), size)
    _fade(draw, pavement, size, (112, 114, 118), (134, 134, 136), size)
    draw.rectangle((0, pavement, size, pavement + max(1, size // 100)), fill=(206, 202, 196))
    middle, dash = pavement + (size - pavement) // 2, size // 7
    for x in range(-_part(rng, dash), size, dash * 2):
        draw.polygon(
            ((x, middle), (x + dash, middle), (x + dash - 4, middle + size // 50), (x - 4, middle + size // 50)),
            fill=(222, 220, 208),
        )


def _room(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    wall = _varied(rng, ((206, 196, 172), (178, 194, 196), (202, 184, 184), (186, 196, 172))[int(rng.integers(4))])
    _fade(draw, 0, horizon, _mixed(wall, (255, 255, 255), 1, 6), wall, size)
    step = size // int(rng.integers(9, 16))
    for x in range(_part(rng, step), size, step):
        draw.line((x, 0, x, horizon), fill=_mixed(wall, (120, 104, 96), 1, 7), width=max(1, step // 5))
    floor = _varied(rng, (172, 132, 92))
    _fade(draw, horizon, size, _mixed(floor, (70, 50, 36), 1, 4), floor, size)
    centre = size // 2
    for x in range(-2 * size, 3 * size, size // 5):
        draw.line(
            (centre + (x - centre) // 3, horizon, x, size),
            fill=_mixed(floor, (70, 46, 30), 1, 2),
            width=max(1, size // 128),
        )
    draw.rectangle((0, horizon - size // 32, size, horizon), fill=_mixed(wall, (255, 252, 244), 3, 4))
    left = _part(rng, size, 0.08, 0.66)
    draw.rectangle((left, size // 14, left + size // 4, horizon - size // 7), fill=(240, 236, 226))
    inner = (
        left + size // 50,
        size // 14 + size // 50,
        left + size // 4 - size // 50,
        horizon - size // 7 - size // 50,
    )
    draw.rectangle(inner, fill=_varied(rng, (164, 204, 226)))
    draw.line(
        (left + size // 8, size // 14, left + size // 8, horizon - size // 7),
        fill=(240, 236, 226),
        width=max(1, size // 80),
    )


def _kitchen(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: int) -> None:
    tile = _varied(rng, ((214, 218, 212), (188, 206, 208), (222, 212, 190))[int(rng.integers(3))])
    draw.rectangle((0, 0, size, horizon), fill=_mixed(tile, (120, 116, 110), 2, 5))
    step = size // int(rng.integers(9, 14))
    for y in range(0, horizon, step):
        for x in range(-int(rng.integers(2)) * step // 2, size, step):
            draw.rectangle((x, y, x + step - 2, y + step - 2), fill=_varied(rng, tile, 6))
    top = _varied(rng, ((186, 146, 104), (206, 184, 150), (158, 150, 142))[int(rng.integers(3))])
    _fade(draw, horizon, size, _mixed(top, (84, 64, 48), 1, 3), _mixed(top, (250, 240, 220), 1, 8), size)
    for _ in range(26):
        x, y, wide = (
            _part(rng, size),
            horizon + _part(rng, size - horizon),
            _part(rng, size, 0.12, 0.5),
        )
        draw.line((x - wide, y, x + wide, y), fill=_varied(rng, _mixed(top, (92, 66, 46), 1, 5), 5))
    draw.rectangle((0, horizon - 1, size, horizon + size // 90), fill=_mixed(top, (60, 44, 34), 1, 2))


PAINTERS = {"meadow": _meadow, "beach": _beach, "street": _street, "room": _room, "kitchen": _kitchen, "snow": _snow}
# Strengths of the texture above and below the horizon.
GRAIN = {
    "meadow": (10, 34),
    "beach": (10, 30),
    "street": (14, 26),
    "room": (8, 14),
    "kitchen": (8, 14),
    "snow": (10, 22),
}
