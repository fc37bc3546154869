"""The HTTP application: the API, the page, health and metrics, around one Service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp

from ..errors import DeixisError, InputError
from ..predict.video import FrameChoice
from . import answers, clips
from .answering import Task, check_image
from .documentation import CLIP, SEGMENT
from .failures import Unavailable
from .guard import Access, Guard, response_to
from .requests import read, read_clip
from .service import Service

STATIC = Path(__file__).parent / "static"
PAGE = {"/": "index.html", **{f"/{file.name}": file.name for file in STATIC.iterdir() if file.suffix != ".html"}}


def build(service: Service, access: Access, *more: APIRouter) -> ASGIApp:
    """The guarded application; `more` are further routes on the same service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.stop()

    app = FastAPI(title="deixis", version=version("deixis"), docs_url=None, redoc_url=None, lifespan=lifespan)
    for kind in (DeixisError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)
    for router in (_segmenting(service), _observing(service), _pages(), *more):
        app.include_router(router)
    return Guard(app, access, service.limits, service.traffic)


def _segmenting(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/segment", openapi_extra=SEGMENT, response_model=None)
    async def segment(request: Request) -> Response:
        """Segment what sentences refer to in an image."""
        service.worker.check()  # before a body is received for nothing
        facts = request.state.facts
        async with service.bodies.of(request) as body:
            image, asked = await read(request.headers, body, service.limits)
            width, height = check_image(image, service.limits)
            facts |= {"bytes": len(body), "pixels": width * height, "sentences": len(asked.sentences)}
            body.clear()  # while the request waits it holds the image only
            as_png = "image/png" in request.headers.get("accept", "")
            if as_png and len(asked.sentences) > 1:
                raise InputError("A PNG holds the mask of one sentence; ask for application/json, or one sentence.")
            task = Task(
                content=image,
                sentences=tuple(asked.sentences),
                render=answers.mask_png if as_png else partial(answers.to_json, asked=asked),
                threshold=asked.threshold,
                presence_threshold=asked.presence_threshold,
                explain=asked.evidence,
            )
            found, seconds = await service.ask(task, request)
        if as_png:
            return Response(found[0], media_type="image/png")
        height, width = found[0]["size"]  # upright, whatever the header says
        size = {"height": height, "width": width}
        return JSONResponse({"model": service.model, "image": size, "answers": found, "seconds": seconds})

    @router.post("/v1/clip", openapi_extra=CLIP, response_model=None)
    async def clip(request: Request) -> Response:
        """Segment what sentences refer to in the frames of a short clip."""
        service.worker.check()
        facts = request.state.facts
        async with service.bodies.of(request) as body:
            content, asked = await read_clip(request.headers, body, service.limits)
            FrameChoice(fps=asked.fps, start=asked.start, end=asked.end)
            facts |= {"bytes": len(body), "sentences": len(asked.sentences)}
            body.clear()
            task = clips.ClipTask(
                content=content,
                sentences=tuple(asked.sentences),
                render=partial(clips.render, asked=asked),
                threshold=asked.threshold,
                presence_threshold=asked.presence_threshold,
                fps=asked.fps,
                start=asked.start,
                end=asked.end,
            )
            found, seconds = await service.ask(task, request)
        height, width = found[0]["size"]
        frames = clips.by_frame(found, len(asked.sentences))
        size = {"height": height, "width": width}
        return JSONResponse({"model": service.model, "clip": size, "frames": frames, "seconds": seconds})

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model, the rule that makes its masks, and whether it says that something is absent."""
        if not service.answerer.facts:
            raise Unavailable("The model is being loaded; try again in a few seconds.", retry_after=5)
        limits = service.limits
        most = {name: getattr(limits, name) for name in ("megabytes", "megapixels", "sentences", "frames")}
        return {"models": [service.answerer.facts], "limits": most}

    return router


def _observing(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/health/live")
    @router.get("/v2/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        """Whether the process runs."""
        return {"status": "live"}

    @router.get("/health/ready")
    @router.get("/v2/health/ready", include_in_schema=False)
    async def ready() -> dict[str, str]:
        """Whether a question would be accepted now; 503 while the model loads, the queue is full, or it stops."""
        service.worker.check()
        return {"status": "ready"}

    @router.get("/metrics", response_model=None)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.traffic.text(), media_type="text/plain; version=0.0.4")

    return router


def _pages() -> APIRouter:
    """The page and its files; no name of a request becomes a path."""
    router = APIRouter(include_in_schema=False)

    async def file(request: Request) -> Response:
        return FileResponse(STATIC / PAGE[request.url.path])

    for path in PAGE:
        router.add_api_route(path, file, response_model=None)
    return router


async def _answer_error(request: Request, error: Exception) -> Response:
    return response_to(error, request.scope)
