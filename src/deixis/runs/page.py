"""A page of text, tables and pictures in one HTML file, which reads nothing else."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import UInt8
from PIL import Image

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222228; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .75rem; text-align: left; vertical-align: top; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; } img { max-width: 100%; }
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture below its title."""

    title: str
    pixels: UInt8[np.ndarray, "h w 3"]


Part = str | Figure | Sequence[Sequence[str]]
"""A paragraph, a figure, or a table whose first row is its heading."""


def page(title: str, sections: Sequence[tuple[str, Sequence[Part]]]) -> str:
    """The HTML of titled sections; all text is escaped."""
    body = "\n".join(
        f"<h2>{escape(heading)}</h2>\n" + "\n".join(_part(part) for part in parts) for heading, parts in sections
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _part(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    if isinstance(part, Figure):
        caption = escape(part.title)
        source = f"data:image/png;base64,{_png(part.pixels)}"
        return f'<figure><figcaption>{caption}</figcaption><img src="{source}" alt="{caption}"></figure>'
    heading, *rows = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(part))
    return "<table><tr>" + "</tr>\n<tr>".join([heading, *rows]) + "</tr></table>"


def _tagged(rows: Sequence[Sequence[str]]) -> list[tuple[str, Sequence[str]]]:
    return [("td" if number else "th", row) for number, row in enumerate(rows)]


def _png(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
