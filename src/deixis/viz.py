"""Pictures of answers and their evidence: heat maps over the photo, a column a word, clouds of words, t-SNE.

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
PANEL, GAP, MARGIN, LINE = 168, 10, 20, 22  # pixels: a panel's long side, between panels, around all, a line of text
COLUMNS = 6
STRIP = COLUMNS * (PANEL + GAP) - GAP  # pixels, of six panels beside each other


def heat(image: Pixels, values: Float[np.ndarray, "y x"], low: float = 0.0, high: float = 1.0) -> Pixels:
    """The photo in grey, coloured where the values are high; `low` and `high` are the ends of the colours."""
    height, width = image.shape[:2]
    spread = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    level = np.clip((np.asarray(spread) - low) / max(high - low, 1e-9), 0, 1)[..., None]
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    strength = 0.35 + 0.4 * level
    return ((1 - strength) * grey + strength * _ramp(level[..., 0])).round().astype(np.uint8)


def light(image: Pixels, cells: Bool[np.ndarray, "y x"]) -> Pixels:
    """The photo in its own colours where the cells are chosen, pale elsewhere, with the border drawn."""
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
    words: Sequence[str],
    evidence: Mapping[str, Shaped[np.ndarray, "..."]],
) -> Image.Image:
    """One picture of an answer: photo, overlay, probability; then each word with its maps; then shares as bars.

    Which evidence is drawn how follows from its shape alone: `[l y x]` of numbers is a heat map a word (all words of
    one map share the colours' ends), `[l y x]` of 0 and 1 alone is a choice of pixels a word, `[y x]` is a heat map,
    and short vectors of shares between 0 and 1, or one alone, are bars.
    """
    height, width = (max(1, round(side * PANEL / max(mask.shape))) for side in mask.shape)
    small = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=3.0))
    chance = np.asarray(Image.fromarray(probability.astype(np.float32)).resize((width, height)))
    panels = [
        (small, "photo"),
        (masks.paint(small, masks.resize(mask, height, width)), "answer"),
        (heat(small, chance), "probability"),
    ]
    for name, values in evidence.items():
        if values.ndim == 2 and min(values.shape) > 1:
            panels.append((heat(small, values, *_ends(values)), _plain(name)))
    rows = [_title(f"“{expression}”"), strip(panels)]
    spoken = [(position, spell(word)) for position, word in enumerate(words) if word not in {"[PAD]", "[SEP]"}]
    rows += _by_word(small, spoken, len(words), evidence)
    rows += [bars(_plain(name), values) for name, values in evidence.items() if _is_shares(values)]
    alone = {name: values[None] for name, values in evidence.items() if values.ndim == 0}
    rows += [bars(_plain(name), value, ("chance",)) for name, value in alone.items() if _is_shares(value)]
    return stack(rows)


def strip(panels: Sequence[tuple[Pixels, str]], columns: int = COLUMNS) -> Image.Image:
    """Pictures of one size beside each other, their captions below, in as many lines as it takes."""
    if not panels:
        raise InputError("A strip without panels cannot be drawn; give at least one picture.")
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
    """Pictures of any size below each other on one sheet, with a margin."""
    width, height = max(row.width for row in rows), sum(row.height + GAP for row in rows) - GAP
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    return sheet


def bars(title: str, shares: Float[np.ndarray, " k"], names: Sequence[str] = ()) -> Image.Image:
    """Numbers between 0 and 1 as bars on one scale."""
    sheet = Image.new("RGB", (2 * PANEL + GAP, LINE * (len(shares) + 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    font, left, long = ImageFont.load_default(14), 96, 2 * PANEL + GAP - 96 - 48
    draw.text((0, LINE // 2), _fit(title, sheet.width, 14), fill=GREY, font=font, anchor="lm")
    for position, share in enumerate(shares.tolist()):
        top = LINE * (position + 1)
        name = names[position] if names else f"stage {position + 1}"
        draw.text((0, top + LINE // 2), _fit(name, left - 8, 14), fill=INK, font=font, anchor="lm")
        draw.rectangle((left, top + 4, left + long, top + LINE - 4), fill=(236, 236, 240))
        draw.rectangle((left, top + 4, left + round(long * min(max(share, 0), 1)), top + LINE - 4), fill=PALETTE[2])
        draw.text((left + long + 8, top + LINE // 2), f"{share:.2f}", fill=INK, font=font, anchor="lm")
    return sheet


def cloud(words: Sequence[str], weights: Float[np.ndarray, " l"], width: int = 4 * PANEL) -> Image.Image:
    """The sentence in its order, each word as large and as warm as its weight among them."""
    if len(words) != len(weights):
        raise InputError(f"{len(words)} words came with {len(weights)} weights; one for each is wanted.")
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
    """Features of several groups as points of one plane by t-SNE: what lies near was alike.

    VEGA's Figure 5 has the groups target pixels, background pixels, words and visual expression.
    """
    from sklearn.manifold import TSNE  # a plot's need alone, and slow to import

    features = np.concatenate(list(groups.values())).astype(np.float64)
    if len(features) < 4:
        raise InputError(f"{len(features)} points came; t-SNE wants at least 4.")
    neighbours = min(30.0, (len(features) - 1) / 3)
    points = TSNE(perplexity=neighbours, init="pca", learning_rate="auto", random_state=seed).fit_transform(features)
    points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-9)
    return _scatter(points, {name: len(members) for name, members in groups.items()}, side)


def reliability(bins: Sequence[Bin], title: str, side: int = 440) -> Image.Image:
    """What was said against what was so: a bar a bin, the diagonal of a score that keeps its word, and the counts.

    A bar's blue is how often it was so, the red line what was said on average; below stands how many there were.
    """
    lines = title.split("\n")
    # Room for the scale and for the title, and the height of the counts.
    left, top, low = 44, LINE * len(lines) + 12, side // 5
    floor = top + side + LINE + low
    sheet = Image.new("RGB", (left + side + 8, floor + LINE + 4), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)

    def x(share: float) -> int:
        return left + round(share * side)

    def y(share: float) -> int:
        return top + side - round(share * side)

    most = max((one.count for one in bins), default=0) or 1
    for one in bins:
        start, end = x(one.low) + 1, x(one.high) - 1
        if one.confidence is not None and one.frequency is not None:
            draw.rectangle((start, y(one.frequency), end, y(0.0)), fill=PALETTE[2])
            draw.line((start, y(one.confidence), end, y(one.confidence)), fill=ACCENT, width=3)
        draw.rectangle((start, floor - round(low * one.count / most), end, floor), fill=PALETTE[1])
    draw.line((x(0.0), y(0.0), x(1.0), y(1.0)), fill=GREY)
    draw.rectangle((x(0.0), y(1.0), x(1.0), y(0.0)), outline=INK)
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        draw.text((left - 6, y(share)), f"{share:g}", fill=INK, font=font, anchor="rm")
        draw.text((x(share), y(0.0) + LINE // 2), f"{share:g}", fill=INK, font=font, anchor="mm")
    draw.text((left - 6, floor - low), f"{most:,}", fill=GREY, font=font, anchor="rm")
    legend = "red: what was said; blue: how often it was so; grey: how many"
    draw.text((x(0.5), floor + LINE // 2 + 2), legend, fill=GREY, font=font, anchor="mm")
    for number, line in enumerate(lines):
        place = (0, LINE * number + LINE // 2)
        draw.text(place, _fit(line, sheet.width, 15), fill=INK, font=ImageFont.load_default(15), anchor="lm")
    return stack([sheet])


def spell(word: str) -> str:
    """A token as a reader says it: the sentence's own token by name, a piece of a word with a hyphen."""
    return "(sentence)" if word == "[CLS]" else "-" + word[2:] if word.startswith("##") else word


def _by_word(
    image: Pixels, spoken: list[tuple[int, str]], count: int, evidence: Mapping[str, Shaped[np.ndarray, "..."]]
) -> list[Image.Image]:
    """What the maps with an axis of words are, and a strip with a column a word: its maps below each other."""
    titles, layers = [], []
    for name, values in evidence.items():
        if values.ndim != 3 or len(values) != count or not spoken:
            continue
        shown = values[[position for position, _ in spoken]]
        if _is_choice(shown):
            titles.append(_plain(name))
            layers.append([light(image, cells > 0.5) for cells in shown])
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
    panels = [(column, word) for column, (_, word) in zip(columns, spoken, strict=True)]
    return [_paragraph("for each word, from top to bottom: " + ", ".join(titles)), strip(panels)]


def _scatter(points: Float[np.ndarray, "p 2"], counts: dict[str, int], side: int) -> Image.Image:
    """Points in the groups' colours, drawn four times as large and shrunk, so that their edges are smooth."""
    sheet = Image.new("RGB", (side, side), PAPER)
    canvas = Image.new("RGB", (4 * side, 4 * side), PAPER)
    draw = ImageDraw.Draw(canvas)
    start = 0
    for position, count in enumerate(counts.values()):
        radius = 14 if count > 100 else 26  # a few words must not drown among thousands of pixels
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
    """Dark violet, red, yellow: brightness rises with the level, so that it reads in grey as well."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(level, stops, RAMP[:, channel]) for channel in range(3)], axis=-1)


def _ends(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """The ends of the colours: all but the outermost hundredth of the values lie between them."""
    low, high = np.percentile(values, (1, 99)).tolist()
    return low, high


def _is_choice(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.dtype == bool or bool(np.isin(values, (0, 1)).all())


def _is_shares(values: Shaped[np.ndarray, "..."]) -> bool:
    return values.ndim == 1 and 1 <= len(values) <= 8 and bool(((values >= 0) & (values <= 1)).all())


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _title(line: str, size: int = 20) -> Image.Image:
    """A line of text as a picture as wide as a strip, or as half of one where it is short."""
    sheet = Image.new("RGB", (3 * PANEL + 2 * GAP if len(line) < 40 else STRIP, size + 8), PAPER)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(sheet).text((0, sheet.height // 2), _fit(line, sheet.width, size), INK, font, anchor="lm")
    return sheet


def _paragraph(text: str, size: int = 14) -> Image.Image:
    """Grey text in as many lines, as wide as a strip, as its words take."""
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
    """The line, shortened with an ellipsis to what fits."""
    font = ImageFont.load_default(size)
    if font.getlength(line) <= width:
        return line
    kept = bisect_right(range(1, len(line)), width, key=lambda count: ceil(font.getlength(line[:count] + "…")))
    return line[:kept] + "…"
