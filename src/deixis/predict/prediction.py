"""What users get: whether it is there, a mask at the photo's own size, how sure the model is, and the evidence."""

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
from .presence import Presence, decide

LARGEST_OVERLAY = 4096  # pixels on the long side of a saved overlay, which is made to be looked at
LONGEST_SLUG = 40  # characters; four bytes each at most, and file systems stop at 255 bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The answer to one expression about one image.

    `present` says whether there is an answer at all: exactly where it is, the mask has pixels and there is a `box`,
    (left, top, width, height) in pixels. From a system with a presence head `score` is the chance that what is meant
    is in the image, after the checkpoint's calibration where it has one (`calibrated`); where that is not above the
    presence threshold the mask is empty, whatever `probability` says. From any other system `score` is the mean
    foreground probability over the mask's pixels, 0 where it is empty: how sure the system is of what it marked, not
    the chance that it is there. `evidence` holds the system's own maps for this expression, on its own grid that
    spans the whole image; where a map has an axis of words, `words` names its entries.
    """

    expression: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    probability: Float32[np.ndarray, "h w"]
    present: bool
    score: float
    calibrated: bool
    box: tuple[int, int, int, int] | None
    words: tuple[str, ...] = ()
    evidence: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, the mask and the probability map."""
        height, width = self.mask.shape
        return height, width

    def overlay(self, largest: int | None = None) -> Image.Image:
        """The photo with the mask tinted and outlined, shrunk to `largest` pixels on its long side where it is more."""
        image, mask = self.image, self.mask
        if largest is not None and max(self.size) > largest:
            shrink = largest / max(self.size)
            height, width = (max(1, round(side * shrink)) for side in self.size)
            image = np.asarray(Image.fromarray(image).resize((width, height), reducing_gap=2.0))
            mask = masks.resize(mask, height, width)
        return Image.fromarray(masks.paint(image, mask))

    def rle(self) -> masks.RunLengths:
        """The mask as COCO's compressed run lengths."""
        return masks.encode(self.mask)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold of the answer; `size` is height and width, the mask stands there as run lengths."""
        return {
            "expression": self.expression,
            "present": self.present,
            "score": round(self.score, 4),
            "calibrated": self.calibrated,
            "box": None if self.box is None else list(self.box),
            "size": list(self.size),
            "rle": self.rle(),
        }

    def save(self, target: Path | str, stem: str | None = None) -> dict[str, Path]:
        """Write overlay, mask (0 and 255) and JSON; a reader sees each file whole or not at all.

        `target` is a folder, which is made where it is missing, or the name of the overlay (`answer.png`), beside
        which `answer-mask.png` and `answer.json` are put. In a folder the names start with `stem`, else with the
        expression.
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
        write_picture(overlay, self.overlay(LARGEST_OVERLAY))
        write_picture(mask, Image.fromarray(self.mask.astype(np.uint8) * 255))


def answer(
    expression: str,
    image: UInt8[np.ndarray, "h w 3"],
    probability: Float32[np.ndarray, "h w"],
    *,
    threshold: float = 0.5,
    presence: Presence | None = None,
    words: tuple[str, ...] = (),
    evidence: dict[str, np.ndarray] | None = None,
) -> Prediction:
    """The Prediction that follows from a probability map, and from the chance that there is anything to find."""
    mask, score = decide(probability, threshold, presence)
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
        present=box is not None,
        score=score,
        calibrated=presence is not None and presence.calibrated,
        box=box,
        words=words,
        evidence={} if evidence is None else evidence,
    )


def slug(expression: str) -> str:
    """The expression as part of a file's name: letters and digits of any script, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", expression.lower()).strip("-")[:LONGEST_SLUG].rstrip("-") or "expression"


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG beside its place and rename it: it is there whole, or not at all."""
    content = BytesIO()
    picture.save(content, format="PNG", compress_level=4)
    write(path, content.getvalue())


def write(path: Path, content: bytes) -> None:
    """Write in a folder of its own and rename: others may give the same answer a place, and none meets half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".deixis-", dir=path.parent) as beside:
            part = Path(beside) / "part"
            part.write_bytes(content)
            os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
