"""A prediction: the mask at the photo's own size, how confident the model is, and the evidence."""

import json
import os
import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from .. import masks
from ..errors import InputError
from ..records import MaskRule
from .presence import Presence, decide

LARGEST_OVERLAY = 4096  # pixels on the long side of an overlay, which people look at
LONGEST_SLUG = 40  # characters, of at most four bytes each; file systems allow 255 bytes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prediction:
    """The result for one expression about one image.

    `found` says whether the mask has pixels; exactly then there is a `box`, (left, top, width, height) in pixels.
    `present` is the decision of the presence head, None for a system without one. With a presence head `score` is the
    probability that the referent is in the image, after the checkpoint's calibration where it has one (`calibrated`);
    where it does not exceed the presence threshold the mask is empty, whatever `probability` holds. Without a head
    `score` is the mean probability of the mask's pixels, 0 for an empty mask: the confidence in the marked pixels, not
    the probability that the referent is there. It is multiplied by the fraction of right answers where that was
    measured (of a model that errs often, outside a model's domain), and by that of known words where it is less.
    `evidence`, present where it was requested, holds the system's maps for this expression on a grid over the whole
    image; where a map has an axis of tokens, `tokens` names its entries. `notes` are sentences for the caller, such as
    unknown words, or that the image is outside the domain that `model` was trained on: `present` is None then. `frame`
    and `time` (in seconds) say which frame of a video the mask belongs to.
    """

    expression: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    probability: Float32[np.ndarray, "h w"]
    present: bool | None
    score: float
    calibrated: bool
    box: tuple[int, int, int, int] | None
    tokens: tuple[str, ...] = ()
    evidence: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    model: str = ""
    frame: int | None = None
    time: float | None = None

    @property
    def found(self) -> bool:
        return self.box is not None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, the mask and the probability map."""
        height, width = self.mask.shape
        return height, width

    def __repr__(self) -> str:
        height, width = self.size
        place = "" if self.frame is None else f", frame={self.frame}"
        return (
            f"Prediction({self.expression!r}, box={self.box}, score={self.score:.4f}, present={self.present}, "
            f"{width}x{height} pixels{place})"
        )

    def overlay(self, max_side: int | None = LARGEST_OVERLAY) -> Image.Image:
        """The photo with the mask tinted and outlined, its long side at most `max_side` pixels; None for full size."""
        if max_side is not None and max_side < 1:
            raise InputError(f"max_side is {max_side}; expected 1 or more pixels, or None for the full size.")
        image, mask = self.image, self.mask
        if max_side is not None and max(self.size) > max_side:
            shrink = max_side / max(self.size)
            height, width = (max(1, round(side * shrink)) for side in self.size)
            image = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=2.0))
            mask = masks.resize(mask, height, width)
        return Image.fromarray(masks.paint(image, mask))

    def rle(self) -> masks.RunLengths:
        """The mask as COCO's compressed run lengths."""
        return masks.encode(self.mask)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold of the prediction: `size` is height and width, `rle` the mask as run lengths."""
        of_video = {} if self.frame is None else {"frame": self.frame, "time": self.time}
        return {
            "expression": self.expression,
            "found": self.found,
            "present": self.present,
            "score": round(self.score, 4),
            "calibrated": self.calibrated,
            "box": None if self.box is None else list(self.box),
            "size": list(self.size),
            "rle": self.rle(),
            "notes": list(self.notes),
            "model": self.model,
            **of_video,
        }

    def save(self, target: Path | str, stem: str | None = None) -> dict[str, Path]:
        """Write overlay, mask (0 and 255) and JSON; each file appears whole or not at all.

        `target` is a folder, which is made where it is missing, or the name of the overlay (`cup.png`), beside which
        `cup-mask.png` and `cup.json` are written. In a folder the names start with `stem`, by default the expression.
        """
        target = Path(target)
        if target.suffix.lower() == ".png" and not target.is_dir():
            folder, stem, overlay = target.parent, target.stem, target.name
        else:
            folder, stem = target, slug(self.expression) if stem is None else stem
            overlay = f"{stem}-overlay.png"
        files = {"overlay": folder / overlay, "mask": folder / f"{stem}-mask.png", "json": folder / f"{stem}.json"}
        self.save_pictures(files["overlay"], files["mask"])
        write(files["json"], (json.dumps(self.to_json(), ensure_ascii=False) + "\n").encode())
        return files

    def save_pictures(self, overlay: Path, mask: Path) -> None:
        """Write the overlay, at most 4,096 pixels long, and the mask in full, each under its own name."""
        write_picture(overlay, self.overlay())
        write_picture(mask, Image.fromarray(self.mask.astype(np.uint8) * 255))


def postprocess(
    expression: str,
    image: UInt8[np.ndarray, "h w 3"],
    probability: Float32[np.ndarray, "h w"],
    *,
    rule: MaskRule | None = None,
    presence: Presence | None = None,
    tokens: tuple[str, ...] = (),
    evidence: dict[str, np.ndarray] | None = None,
    notes: tuple[str, ...] = (),
    model: str = "",
    highest: float = 1.0,
) -> Prediction:
    """The Prediction that follows from a probability map and from the presence head's probability, by `decide`."""
    mask, score = decide(probability, rule or MaskRule(), presence, highest)
    box = None
    if mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        box = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
    return Prediction(
        expression=expression,
        image=image,
        mask=mask,
        probability=probability,
        present=None if presence is None else presence.is_present,
        score=score,
        calibrated=presence is not None and presence.calibrated,
        box=box,
        tokens=tokens,
        evidence={} if evidence is None else evidence,
        notes=notes,
        model=model,
    )


def slug(expression: str) -> str:
    """The expression as part of a file's name: letters and digits of any script, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", expression.lower()).strip("-")[:LONGEST_SLUG].rstrip("-") or "expression"


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG, whole or not at all."""
    content = BytesIO()
    picture.save(content, format="PNG", compress_level=4)
    write(path, content.getvalue())


def write(path: Path, content: bytes) -> None:
    """Write into a temporary folder beside `path` and rename, so that concurrent readers and writers see whole files.

    Raises `InputError` where the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".deixis-", dir=path.parent) as beside:
            part = Path(beside) / "part"
            part.write_bytes(content)
            os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
