"""Pictures of predictions and their evidence: heat maps over the photo, maps for each token, word clouds, t-SNE.

Everything takes arrays and is drawn with Pillow and its built-in font, so that it looks the same on every machine.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from . import masks
from .errors import InputError
from .metrics.calibration import Bin

Colour = tuple[int, int, int]
Pixels = UInt8[np.ndarray, "h w 3"]

INK, GREY, PAPER, ACCENT = (34, 34, 40), (120, 120, 130), (255, 255, 255), (255, 64, 64)
PALETTE: tuple[Colour, ...] = (
    (230, 57, 70),
    (120, 144, 156),
    (29, 108, 194),
    (247, 160, 30),
    (43, 147, 72),
    (131, 56, 200),
)
RAMP = np.array(
    [(18, 8, 60), (92, 18, 110), (178, 44, 96), (238, 104, 50), (252, 178, 44), (250, 250, 160)], np.float32
)
PANEL, GAP, MARGIN, LINE = (
    168,
    10,
    20,
    22,
)  # pixels: a panel's long side, between panels, margin, line of text
COLUMNS = 6
STRIP = COLUMNS * (PANEL + GAP) - GAP  # pixels: six panels beside each other


def heat(image: Pixels, values: Float[np.ndarray, "y x"], low: float = 0.0, high: float = 1.0) -> Pixels:
    """The photo in grey, coloured where the values are high; the colours span `low` to `high`."""
    height, width = image.shape[:2]
    spread = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    level = np.clip((np.asarray(spread) - low) / max(high - low, 1e-9), 0, 1)[..., None]
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    strength = 0.35 + 0.4 * level
    return ((1 - strength) * grey + strength * _ramp(level[..., 0])).round().astype(np.uint8)


def highlight(image: Pixels, cells: Bool[np.ndarray, "y x"]) -> Pixels:
    """The photo in its own colours where the cells are True, pale elsewhere, with the border between them."""
    chosen = masks.resize(cells, *image.shape[:2])
    pale = (0.25 * image.mean(axis=2, keepdims=True, dtype=np.float32) + 0.75 * 255).repeat(3, axis=2)
    lit = np.where(chosen[..., None], image, pale)
    lit[masks.outline(chosen)] = ACCENT
    return lit.round().astype(np.uint8)


def explanation(
    image: Pixels,
    mask: Bool[np.ndarray, "h w"],
    probability: Float[np.ndarray, "h w"],
    expression: str,
    tokens: Sequence[str],
    evidence: Mapping[str, Shaped[np.ndarray, "..."]],
) -> Image.Image:
    """A prediction on one sheet: photo, overlay and probability; then the maps of each token; then fractions as bars.

    The shape of evidence decides how it is drawn: `[l y x]` is a heat map for each token (all tokens of one map share
    the colours' ends), or a highlight for each token where all values are 0 or 1; `[y x]` is a heat map; a number
    between 0 and 1, or a short vector of such, is drawn as bars.
    """
    height, width = (max(1, round(side * PANEL / max(mask.shape))) for side in mask.shape)
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    likely = np.asarray(Image.fromarray(probability.astype(np.float32)).resize((width, height)))
    panels = [
        (small, "photo"),
        (masks.paint(small, masks.resize(mask, height, width)), "mask"),
        (heat(small, likely), "probability"),
    ]
    for name, values in evidence.items():
        if values.ndim == 2 and min(values.shape) > 1:
            panels.append((heat(small, values, *_ends(values)), _plain(name)))
    rows = [_title(f"“{expression}”"), strip(panels)]
    spoken = [(position, spell(token)) for position, token in enumerate(tokens) if token not in {"[PAD]", "[SEP]"}]
    rows += _by_token(small, spoken, len(tokens), evidence)
    rows += [bars(_plain(name), values) for name, values in evidence.items() if _are_fractions(values)]
    alone = {name: values[None] for name, values in evidence.items() if values.ndim == 0}
    rows += [bars(_plain(name), value, ("probability",)) for name, value in alone.items() if _are_fractions(value)]
    return stack(rows)


def strip(panels: Sequence[tuple[Pixels, str]], columns: int = COLUMNS) -> Image.Image:
    """Pictures of one size beside each other with captions below, in rows of `columns`."""
    if not panels:
        raise InputError("The strip has no panels; give one or more.")
    height, width = panels[0][0].shape[:2]
    cell = max(width, 84), height + LINE
    lines = -(-len(panels) // columns)
    across = min(columns, len(panels))
    sheet = Image.new("RGB", (across * (cell[0] + GAP) - GAP, lines * (cell[1] + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for position, (picture, caption) in enumerate(panels):
        left, top = position % columns * (cell[0] + GAP), position // columns * (cell[1] + GAP)
        sheet.paste(Image.fromarray(picture), (left + (cell[0] - width) // 2, top))
        middle = (left + cell[0] // 2, top + height + LINE // 2)
        draw.text(middle, _fit(caption, cell[0], 14), fill=INK, font=ImageFont.load_default(14), anchor="mm")
    return sheet


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Pictures of any size below each other on one sheet with a margin."""
    width, height = max(row.width for row in rows), sum(row.height + GAP for row in rows) - GAP
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    return sheet


def bars(title: str, fractions: Float[np.ndarray, " k"], names: Sequence[str] = ()) -> Image.Image:
    """Numbers between 0 and 1 as bars on one scale."""
    sheet = Image.new("RGB", (2 * PANEL + GAP, LINE * (len(fractions) + 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    font, left, long = ImageFont.load_default(14), 96, 2 * PANEL + GAP - 96 - 48
    draw.text((0, LINE // 2), _fit(title, sheet.width, 14), fill=GREY, font=font, anchor="lm")
    for position, fraction in enumerate(fractions.tolist()):
        top = LINE * (position + 1)
        name = names[position] if names else f"stage {position + 1}"
        draw.text((0, top + LINE // 2), _fit(name, left - 8, 14), fill=INK, font=font, anchor="lm")
        draw.rectangle((left, top + 4, left + long, top + LINE - 4), fill=(236, 236, 240))
        draw.rectangle((left, top + 4, left + round(long * min(max(fraction, 0), 1)), top + LINE - 4), fill=PALETTE[2])
        draw.text((left + long + 8, top + LINE // 2), f"{fraction:.2f}", fill=INK, font=font, anchor="lm")
    return sheet


def cloud(words: Sequence[str], weights: Float[np.ndarray, " l"], width: int = 4 * PANEL) -> Image.Image:
    """The words in the order of the sentence, each one larger and redder the larger its weight is."""
    if len(words) != len(weights):
        raise InputError(f"There are {len(words)} words and {len(weights)} weights; expected one weight for each word.")
    level = (weights - weights.min()) / max(float(np.ptp(weights)), 1e-9)
    sheet = Image.new("RGB", (width, 60 * (len(words) + 1)), PAPER)
    draw, left, base = ImageDraw.Draw(sheet), 0.0, 46
    for word, strength in zip(words, level.tolist(), strict=True):
        font = ImageFont.load_default(16 + 28 * strength)
        wide = font.getlength(word)
        if left and left + wide > width:
            left, base = 0.0, base + 54
        warmth = np.array(GREY) + strength * (np.array(ACCENT) - np.array(GREY))
        red, green, blue = warmth.round().astype(int).tolist()
        draw.text((left, base), word, fill=(red, green, blue), font=font, anchor="ls")
        left += wide + 14
    return sheet.crop((0, 0, width, base + 14))


def constellation(groups: Mapping[str, Float[np.ndarray, "_ d"]], seed: int = 0, side: int = 640) -> Image.Image:
    """Features of several groups as points in one plane by t-SNE, in which similar features are near each other.

    VEGA's Figure 5 has the groups target pixels, background pixels, words and visual expression.
    """
    from sklearn.manifold import TSNE  # needed here only, and slow to import

    features = np.concatenate(list(groups.values())).astype(np.float64)
    if len(features) < 4:
        raise InputError(f"There are {len(features)} points; t-SNE needs 4 or more.")
    neighbours = min(30.0, (len(features) - 1) / 3)
    points = TSNE(perplexity=neighbours, init="pca", learning_rate="auto", random_state=seed).fit_transform(features)
    points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-9)
    return _scatter(points, {name: len(members) for name, members in groups.items()}, side)


def reliability(bins: Sequence[Bin], title: str, side: int = 440) -> Image.Image:
    """A reliability diagram: a bar for each bin, the diagonal of perfect calibration, and the counts below.

    The blue bar is the fraction of positives, the red line the mean probability.
    """
    lines = title.split("\n")
    # Room for the scale and for the title, and the height of the counts.
    left, top, low = 44, LINE * len(lines) + 12, side // 5
    floor = top + side + LINE + low
    sheet = Image.new("RGB", (left + side + 8, floor + LINE + 4), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)

    def x(fraction: float) -> int:
        return left + round(fraction * side)

    def y(fraction: float) -> int:
        return top + side - round(fraction * side)

    most = max((one.count for one in bins), default=0) or 1
    for one in bins:
        start, end = x(one.low) + 1, x(one.high) - 1
        if one.confidence is not None and one.frequency is not None:
            draw.rectangle((start, y(one.frequency), end, y(0.0)), fill=PALETTE[2])
            draw.line((start, y(one.confidence), end, y(one.confidence)), fill=ACCENT, width=3)
        draw.rectangle((start, floor - round(low * one.count / most), end, floor), fill=PALETTE[1])
    draw.line((x(0.0), y(0.0), x(1.0), y(1.0)), fill=GREY)
    draw.rectangle((x(0.0), y(1.0), x(1.0), y(0.0)), outline=INK)
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        draw.text((left - 6, y(tick)), f"{tick:g}", fill=INK, font=font, anchor="rm")
        draw.text((x(tick), y(0.0) + LINE // 2), f"{tick:g}", fill=INK, font=font, anchor="mm")
    draw.text((left - 6, floor - low), f"{most:,}", fill=GREY, font=font, anchor="rm")
    legend = "red: mean probability; blue: fraction of positives; grey: count"
    draw.text((x(0.5), floor + LINE // 2 + 2), legend, fill=GREY, font=font, anchor="mm")
    for number, line in enumerate(lines):
        place = (0, LINE * number + LINE // 2)
        draw.text(place, _fit(line, sheet.width, 15), fill=INK, font=ImageFont.load_default(15), anchor="lm")
    return stack([sheet])


def spell(token: str) -> str:
    """A token for readers: [CLS] as (sentence), a continued piece of a word with a hyphen."""
    return "(sentence)" if token == "[CLS]" else "-" + token[2:] if token.startswith("##") else token


def _by_token(
    image: Pixels, spoken: list[tuple[int, str]], count: int, evidence: Mapping[str, Shaped[np.ndarray, "..."]]
) -> list[Image.Image]:
    """The names of the maps with an axis of tokens, and a strip with a column for each token."""
    titles, layers = [], []
    for name, values in evidence.items():
        if values.ndim != 3 or len(values) != count or not spoken:
            continue
        shown = values[[position for position, _ in spoken]]
        if _is_choice(shown):
            titles.append(_plain(name))
            layers.append([highlight(image, cells > 0.5) for cells in shown])
        else:
            low, high = _ends(shown)
            titles.append(f"{_plain(name)} (dark {low:.2f}, bright {high:.2f})")
            layers.append([heat(image, cells, low, high) for cells in shown])
    if not layers:
        return []
    line = np.full((3, image.shape[1], 3), 255, np.uint8)
    columns = [
        np.concatenate([part for layer in column for part in (line, layer)][1:]) for column in zip(*layers, strict=True)
    ]
    panels = [(column, token) for column, (_, token) in zip(columns, spoken, strict=True)]
    return [_paragraph("for each token, from top to bottom: " + ", ".join(titles)), strip(panels)]


def _scatter(points: Float[np.ndarray, "p 2"], counts: dict[str, int], side: int) -> Image.Image:
    """Points in the groups' colours, drawn at four times the size and shrunk, which smooths their edges."""
    sheet = Image.new("RGB", (side, side), PAPER)
    canvas = Image.new("RGB", (4 * side, 4 * side), PAPER)
    draw = ImageDraw.Draw(canvas)
    start = 0
    for position, count in enumerate(counts.values()):
        radius = 14 if count > 100 else 26  # a few words stay visible among thousands of pixels
        for across, down in points[start : start + count].tolist():
            x, y = (4 * (MARGIN + place * (side - 2 * MARGIN)) for place in (across, down))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), PALETTE[position % len(PALETTE)], PAPER, 3)
        start += count
    sheet.paste(canvas.resize((side, side), Image.Resampling.LANCZOS))
    return stack([sheet, _legend(list(counts), side)])


def _legend(names: list[str], width: int) -> Image.Image:
    sheet = Image.new("RGB", (width, LINE), PAPER)
    draw, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(14), 0.0
    for position, name in enumerate(names):
        draw.ellipse((left, 6, left + 10, 16), fill=PALETTE[position % len(PALETTE)])
        draw.text((left + 16, LINE // 2), name, fill=INK, font=font, anchor="lm")
        left += 16 + font.getlength(name) + 18
    return sheet


def _ramp(level: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 3"]:
    """Dark violet, red, yellow: the brightness rises with the level, so the map is readable in grey as well."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(level, stops, RAMP[:, channel]) for channel in range(3)], axis=-1)


def _ends(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """The ends of the colours: the first and the 99th percentile."""
    low, high = np.percentile(values, (1, 99)).tolist()
    return low, high


def _is_choice(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.dtype == bool or bool(np.isin(values, (0, 1)).all())


def _are_fractions(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.ndim == 1 and 1 <= len(values) <= 8 and bool(((values >= 0) & (values <= 1)).all())


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _title(line: str, size: int = 20) -> Image.Image:
    """A line of text as a picture as wide as a strip, or half as wide for a short line."""
    sheet = Image.new("RGB", (3 * PANEL + 2 * GAP if len(line) < 40 else STRIP, size + 8), PAPER)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(sheet).text((0, sheet.height // 2), _fit(line, sheet.width, size), INK, font, anchor="lm")
    return sheet


def _paragraph(text: str, size: int = 14) -> Image.Image:
    """Grey text, wrapped to the width of a strip."""
    font = ImageFont.load_default(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= STRIP else [*lines, word]
    sheet = Image.new("RGB", (STRIP, LINE * len(lines)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((0, LINE * number + LINE // 2), _fit(line, STRIP, size), GREY, font, anchor="lm")
    return sheet


def _fit(line: str, width: int, size: int) -> str:
    """The line, shortened with an ellipsis to the width."""
    font = ImageFont.load_default(size)
    if font.getlength(line) <= width:
        return line
    kept = bisect_right(range(1, len(line)), width, key=lambda count: ceil(font.getlength(line[:count] + "…")))
    return line[:kept] + "…"
