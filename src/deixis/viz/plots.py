"""Plots: word clouds, t-SNE of features, reliability diagrams."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from ..metrics.calibration import Bin
from .layout import ACCENT, GREY, INK, LINE, MARGIN, PALETTE, PANEL, PAPER, fit, stack


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
        draw.text(place, fit(line, sheet.width, 15), fill=INK, font=ImageFont.load_default(15), anchor="lm")
    return stack([sheet])


def _scatter(points: Float[np.ndarray, "p 2"], counts: dict[str, int], side: int) -> Image.Image:
    """Points in the groups' colours, drawn at four times the size and shrunk, which smooths their edges."""
    sheet = Image.new("RGB", (side, side), PAPER)
    canvas = Image.new("RGB", (4 * side, 4 * side), PAPER)
    draw = ImageDraw.Draw(canvas)
    ends = np.cumsum([0, *counts.values()])
    sizes = list(counts.values())
    for position in sorted(range(len(sizes)), key=lambda one: -sizes[one]):  # a small group stays visible over a large
        radius = 14 if sizes[position] > 100 else 26  # a few words stay visible among thousands of pixels
        for across, down in points[ends[position] : ends[position + 1]].tolist():
            x, y = (4 * (MARGIN + place * (side - 2 * MARGIN)) for place in (across, down))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), PALETTE[position % len(PALETTE)], PAPER, 3)
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
