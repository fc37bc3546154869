"""The routes that Label Studio calls: /health, /setup, /predict, /webhook and /versions, below one prefix."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import Request

from ...errors import DeixisError, InputError
from ...predict.prediction import Prediction
from ..answering import Task, check_image
from ..cache import ByteCache
from ..failures import ClientGone, Refusal, TimeLimit, Unavailable
from ..requests import check_sentences
from ..service import Service
from .config import Control, control_of, sentences_of
from .images import Images
from .regions import regions

PREFIX = "/label-studio"
SECONDS = 90.0  # for one list of tasks; Label Studio drops all answers after 100 (its ML_TIMEOUT_PREDICT)
PAUSE = 0.2  # seconds before a full queue is tried again
CACHE_MEGABYTES = 64.0
TRAINING = {"START_TRAINING", "ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user chose when the server was started."""

    sentence_field: str | None = None  # of a task's data; by default sentence, expression, text or caption
    default_sentence: str | None = None  # for tasks without one
    threshold: float | None = None


class Backend:
    """Answers tasks one after another; what is finished is kept, so that a list that took too long gets further."""

    def __init__(self, service: Service, images: Images, settings: Settings, seconds: float = SECONDS) -> None:
        self.service, self.images, self.settings, self.seconds = service, images, settings, seconds
        self.finished: ByteCache[str, dict[str, Any]] = ByteCache(CACHE_MEGABYTES * 1e6)

    @property
    def version(self) -> str:
        """Changes with the checkpoint, the threshold and where sentences are: Label Studio skips tasks that have it."""
        known = self.service.answerer.facts.get("version", "loading")
        return f"{known}-{hashlib.sha256(repr(self.settings).encode()).hexdigest()[:4]}"

    async def predict(self, body: dict[str, Any], request: Request) -> dict[str, Any]:
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            raise InputError("The body has no tasks; expected {'tasks': [{'id': 1, 'data': {…}}], 'label_config': …}.")
        control = control_of(str(body.get("label_config") or ""))
        params = body.get("params")
        context = params.get("context") if isinstance(params, dict) else None
        end = time.monotonic() + self.seconds
        results = []
        for task in tasks:
            try:
                results.append(await self._answer(task, control, context, end, request))
            except (ClientGone, TimeLimit, Unavailable):
                raise
            except DeixisError as error:
                self.service.traffic.write(level="error", task=str(task.get("id"))[:40], error=str(error)[:500])
                # Another version, so that Label Studio asks for this task again.
                results.append({"result": [], "score": 0.0, "model_version": f"{self.version}-failed"})
        return {"results": results}

    async def _answer(
        self, task: dict[str, Any], control: Control, context: Any, end: float, request: Request
    ) -> dict[str, Any]:
        default = [] if context or not self.settings.default_sentence else [self.settings.default_sentence]
        sentences = sentences_of(task, context, self.settings.sentence_field) or default
        if not sentences:
            return {"result": [], "score": 0.0, "model_version": self.version}
        check_sentences(sentences, self.service.limits)
        data = task.get("data")
        reference = data.get(control.image_field) if isinstance(data, dict) else None
        image = await run_in_threadpool(self.images.read, reference, task.get("id"))
        check_image(image, self.service.limits)
        asked = (hashlib.sha256(image).hexdigest(), sentences, control, self.version)
        key = hashlib.sha256(repr(asked).encode()).hexdigest()
        if (known := self.finished.get(key)) is not None:
            return known
        found = await self._ask(image, sentences, control, end, request)
        answer = {
            "result": [region for one, _ in found for region in one],
            "score": max(score for _, score in found),
            "model_version": self.version,
        }
        self.finished.put(key, answer, len(json.dumps(answer)))
        return answer

    async def _ask(
        self, image: bytes, sentences: list[str], control: Control, end: float, request: Request
    ) -> list[tuple[list[dict[str, Any]], float]]:
        """The regions and the score of each sentence. Waits while the queue is full."""
        render = partial(_rendered, control=control)
        task = Task(content=image, sentences=tuple(sentences), render=render, threshold=self.settings.threshold)
        while time.monotonic() < end:
            if self.service.worker.state == "ready" and self.service.worker.is_full:
                await asyncio.sleep(PAUSE)
                continue
            return (await self.service.ask(task, request))[0]
        raise TimeLimit(
            f"The tasks take more than {self.seconds:g} s; choose fewer, or retrieve predictions again: what is "
            "finished is kept."
        )


def _rendered(prediction: Prediction, control: Control) -> tuple[list[dict[str, Any]], float]:
    return regions(prediction, control), round(prediction.score, 4)


def routes(backend: Backend) -> APIRouter:
    """Paths relative to the address that is entered in Label Studio, with and without a slash at the end."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/")
    @router.get("", include_in_schema=False)
    @router.get("/health")
    async def health() -> dict[str, str]:
        """Answered while the model loads or works: Label Studio waits for one second."""
        return {"status": "UP", "model_class": "deixis"}

    @router.post("/setup", response_model=None)
    async def setup(request: Request) -> dict[str, str]:
        """Checks the labelling config; the host name and the token in the body are not used."""
        schema = (await _json(backend, request)).get("schema")
        if schema:
            control_of(str(schema))
        return {"model_version": backend.version}

    @router.post("/predict", response_model=None)
    async def predict(request: Request) -> dict[str, Any]:
        return await backend.predict(await _json(backend, request), request)

    @router.post("/webhook", response_model=None)
    async def webhook(request: Request) -> JSONResponse:
        """Nothing is trained and no annotation is changed; known events are acknowledged."""
        if (await _json(backend, request)).get("action") in TRAINING:
            return JSONResponse({"result": None, "status": "ok"}, 201)
        return JSONResponse({"status": "Unknown event"})

    @router.get("/versions")
    async def versions() -> dict[str, list[str]]:
        return {"versions": [backend.version]}

    return router


async def _json(backend: Backend, request: Request) -> dict[str, Any]:
    async with backend.service.bodies.of(request) as content:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal("The body is not of type application/json, which Label Studio sends.")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise Refusal("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal("The body is not a JSON object.")
    return body
