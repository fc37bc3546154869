"""What `/openapi.json` says of the body and the answer of `POST /v1/segment`, which is read by hand."""

from typing import Any

from .requests import Asked, AskedAsJson, AskedOfClip

_NUMBERS = {name: {"type": "number"} for name in ("queue", "model")}
_ERROR = {name: {"type": "string"} for name in ("code", "message", "request_id")}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _form(file: str, asked: type[Asked]) -> dict[str, Any]:
    """The form with a file and these fields."""
    fields = {name: field for name, field in asked.model_json_schema()["properties"].items() if name != "sentences"}
    sentences = {"type": "array", "items": {"type": "string"}}
    return {"schema": _object(**{file: {"type": "string", "format": "binary"}}, sentence=sentences, **fields)}


def _responses(**content: Any) -> dict[str, Any]:
    """An answer of these properties; an error otherwise."""
    model = _object(name={"type": "string"}, version={"type": "string"})
    schema = _object(model=model, **content, seconds=_object(**_NUMBERS))
    error = {"application/json": {"schema": _object(error=_object(**_ERROR))}}
    return {
        "200": {
            "description": "An answer for each sentence, in their order",
            "content": {"application/json": {"schema": schema}},
        },
        "default": {"description": "A refusal or a failure", "content": error},
    }


_SIZE = _object(height={"type": "integer"}, width={"type": "integer"})
ANSWER = _object(
    expression={"type": "string"},
    found={"type": "boolean"},
    present={"type": ["boolean", "null"]},
    score={"type": "number"},
    calibrated={"type": "boolean"},
    box={"type": ["array", "null"], "items": {"type": "integer"}, "description": "left, top, width, height"},
    size={"type": "array", "items": {"type": "integer"}, "description": "height, width"},
    rle={"type": "object", "description": "COCO's compressed run lengths"},
    png={"type": "string", "description": "the mask as 8-bit PNG in base64, 0 and 255"},
    polygons={"type": "array", "description": "outer outlines, points x, y in pixels, within a pixel; no holes"},
    probability={"type": "string", "description": "the probabilities times 255 as PNG in base64"},
    notes={"type": "array", "items": {"type": "string"}},
)
_FRAME = _object(
    frame={"type": "integer", "description": "position in the clip, from 0"},
    time={"type": ["number", "null"], "description": "seconds after the first frame"},
    image={"type": "string", "description": "the frame as JPEG in base64"},
    answers={"type": "array", "items": ANSWER},
)
SEGMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form("image", Asked),
            "application/json": {"schema": AskedAsJson.model_json_schema()},
        },
    },
    "responses": _responses(image=_SIZE, answers={"type": "array", "items": ANSWER}),
}
SEGMENT["responses"]["200"]["content"]["image/png"] = {"schema": {"type": "string", "format": "binary"}}
CLIP: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": _form("clip", AskedOfClip)}},
    "responses": _responses(clip=_SIZE, frames={"type": "array", "items": _FRAME}),
}
