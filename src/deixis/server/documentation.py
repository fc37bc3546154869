"""What `/openapi.json` says of the body and the answer of `POST /v1/segment`, which is read by hand."""

from typing import Any

from .requests import Asked, AskedAsJson

_FORM = Asked.model_json_schema()
_FIELDS = {name: field for name, field in _FORM["properties"].items() if name != "sentences"}
_NUMBERS = {name: {"type": "number"} for name in ("queue", "model")}
_ERROR = {name: {"type": "string"} for name in ("code", "message", "request_id")}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


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
SEGMENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _object(
                    image={"type": "string", "format": "binary"},
                    sentence={"type": "array", "items": {"type": "string"}},
                    **_FIELDS,
                )
            },
            "application/json": {"schema": AskedAsJson.model_json_schema()},
        },
    },
    "responses": {
        "200": {
            "description": "An answer for each sentence, in their order",
            "content": {
                "application/json": {
                    "schema": _object(
                        model=_object(name={"type": "string"}, version={"type": "string"}),
                        image=_object(height={"type": "integer"}, width={"type": "integer"}),
                        answers={"type": "array", "items": ANSWER},
                        seconds=_object(**_NUMBERS),
                    )
                },
                "image/png": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "default": {
            "description": "A refusal or a failure",
            "content": {"application/json": {"schema": _object(error=_object(**_ERROR))}},
        },
    },
}
