"""A model of one line behind the interface of Segmenter, so that a test of the server takes milliseconds."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from deixis.errors import InputError, ModelError
from deixis.predict.prediction import Prediction, postprocess
from deixis.predict.video import FrameChoice
from deixis.records import MaskRule
from deixis.server.answering import Answerer
from deixis.server.app import build
from deixis.server.guard import Access
from deixis.server.limits import Limits
from deixis.server.service import Service


@dataclass(eq=False)
class Redness:
    """Finds what is red, whatever the sentence; 'slow' takes 50 ms, 'break' raises, 'nothing' finds nothing."""

    name: str = "redness"
    notes: tuple[str, ...] = ("A note.",)
    encoded: list[tuple[int, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def mask_rule(self, threshold: float | None = None) -> MaskRule:
        return MaskRule() if threshold is None else MaskRule(threshold=threshold)

    def encode(self, image: np.ndarray) -> "EncodedRedness":
        self.encoded.append(image.shape[:2])
        return EncodedRedness(self, image)

    def video(self, source: Any, expressions: list[str], *, fps: float, **options: Any) -> Iterator[Prediction]:
        """As a Segmenter does; a frame is asked once in 1 / fps seconds."""
        span, asked = {name: options.pop(name) for name in ("start", "end")}, 0
        with source.frames() as frames:
            for frame, is_asked in FrameChoice(fps=fps, **span).marked(frames, source.path):
                if is_asked:
                    asked += 1
                    for one in self.encode(frame.pixels).stream(expressions, explain=False, **options):
                        yield replace(one, frame=frame.index, time=frame.time)
        if not asked:
            raise InputError(f"{source.path} has no frame in this span.")


class EncodedRedness:
    def __init__(self, segmenter: Redness, photo: np.ndarray) -> None:
        self.segmenter, self.photo = segmenter, photo

    def stream(self, expressions: list[str], *, threshold: float | None = None, **options: Any) -> Iterator[Prediction]:
        for expression in expressions:
            self.segmenter.asked.append(expression)
            if "slow" in expression:
                time.sleep(0.05)
            if "break" in expression:
                raise ModelError("The model is broken.")
            if "bug" in expression:
                raise RuntimeError("a secret of the inside")
            maps = (self.photo[..., 0] / 255 * ("nothing" not in expression)).astype(np.float32)
            yield postprocess(
                expression,
                self.photo,
                maps,
                rule=self.segmenter.mask_rule(threshold),
                tokens=("red",),
                evidence={"similarity": np.array([[[0.12345, np.inf]]])} if options["explain"] else {},
                notes=self.segmenter.notes,
            )


def photo(width: int = 12, height: int = 8, kind: str = "PNG", level: int = 255) -> bytes:
    """Black with a red box of 4x3 pixels at (2, 1)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[1:4, 2:6, 0] = level
    content = BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@dataclass
class Served:
    """A running service, a client that asks it, and its log."""

    service: Service
    client: TestClient
    model: Redness
    log: list[str]


def serve(access: Access | None = None, *more: Any, model: Any = None, **options: Any) -> Served:
    model = model or Redness()
    log: list[str] = []
    service = Service(Answerer(lambda: model, limits := Limits(**options)), limits, log=log.append)
    while service.worker.state == "loading":
        time.sleep(0.001)
    app = build(service, access or Access(), *more)
    return Served(service, TestClient(app, base_url="http://localhost", raise_server_exceptions=False), model, log)
