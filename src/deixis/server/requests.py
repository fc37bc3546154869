"""What a request asks for: its fields, read from JSON or from a form, checked before the model sees them."""

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ..errors import InputError, did_you_mean
from .failures import Refusal, WrongType
from .limits import Limits

MaskFormat = Literal["rle", "png", "polygon", "none"]
LARGEST_FIELD = 16_384  # bytes of a form's text field
Probability = Annotated[float, Field(gt=0, lt=1)]
EXPECTED = {
    "greater_than": "a number between 0 and 1",
    "less_than": "a number between 0 and 1",
    "finite_number": "a number between 0 and 1",
    "greater_than_equal": "seconds from 0",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "0 or 1",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "literal_error": "rle, png, polygon or none",
    "too_short": "one or more sentences",
}


class Asked(BaseModel):
    """The fields of `POST /v1/segment` beside the image."""

    model_config = ConfigDict(extra="forbid")

    sentences: Annotated[list[Annotated[str, StringConstraints()]], Field(min_length=1)]
    threshold: Probability | None = None
    presence_threshold: Probability | None = None
    mask: MaskFormat = "rle"
    evidence: bool = False
    probability: bool = False


class AskedOfClip(Asked):
    """The fields of `POST /v1/clip` beside the clip."""

    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    start: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    end: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    images: bool = False


class AskedAsJson(Asked):
    """The body of `POST /v1/segment` as JSON; `image` is in base64, or a data URL."""

    image: str


Fields = TypeVar("Fields", bound=Asked)


async def read(headers: Headers, body: bytearray, limits: Limits) -> tuple[bytes, Asked]:
    """The image's bytes and the fields. Raises `Refusal`, or `InputError` for fields without a meaning."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        image, asked = _from_json(body)
    elif kind == "multipart/form-data":
        image, asked = await _from_form(headers, body, limits, "image", Asked)
    else:
        raise WrongType(f"The body is of type {kind[:60]!r}; send multipart/form-data or application/json.")
    check_sentences(asked.sentences, limits)
    return image, asked


async def read_clip(headers: Headers, body: bytearray, limits: Limits) -> tuple[bytes, AskedOfClip]:
    """The clip's bytes and the fields, as `read`."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise WrongType(f"The body is of type {kind[:60]!r}; send multipart/form-data.")
    clip, asked = await _from_form(headers, body, limits, "clip", AskedOfClip)
    check_sentences(asked.sentences, limits)
    return clip, asked


def check_sentences(sentences: list[str], limits: Limits) -> None:
    if len(sentences) > limits.sentences:
        raise InputError(
            f"The request has {len(sentences)} sentences; at most {limits.sentences} are answered at once."
        )
    for number, sentence in enumerate(sentences, start=1):
        if len(sentence) > limits.characters:
            raise InputError(
                f"Sentence {number} has {len(sentence):,} characters; at most {limits.characters:,} are read."
            )
        if not sentence.strip():
            raise InputError(f"Sentence {number} is empty; describe an object in the image, such as 'the red cup'.")


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text or of a data URL."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise Refusal("The image is a data URL without base64; send data:image/png;base64,… or plain base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(
            "The image is not base64; send the file's bytes in base64, or the file itself in a form. Addresses are not "
            "fetched."
        ) from None


def _from_json(body: bytearray) -> tuple[bytes, Asked]:
    try:
        asked = AskedAsJson.model_validate_json(body)
    except ValidationError as error:
        raise _as_sentence(error, AskedAsJson) from None
    return decode_base64(asked.image), asked


async def _from_form(
    headers: Headers, body: bytearray, limits: Limits, name: Literal["image", "clip"], kind: type[Fields]
) -> tuple[bytes, Fields]:
    """From a form that is in memory already, with a file of that name; nothing is written to disk."""

    async def chunks() -> AsyncIterator[bytes | bytearray]:
        yield body
        yield b""

    most = limits.sentences + 16
    parser = MultiPartParser(headers, chunks(), max_files=1, max_fields=most, max_part_size=LARGEST_FIELD)  # type: ignore[arg-type]
    parser.spool_max_size = len(body) + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(f"The form cannot be read: {error.message.rstrip('.')}.") from None
    try:
        content, fields = await _of_form(form, name)
    finally:
        await form.close()
    if content is None:
        raise InputError(f"The form has no {name}; send one file in a field named {name!r}.")
    try:
        return content, kind.model_validate(fields)
    except ValidationError as error:
        raise _as_sentence(error, kind) from None


async def _of_form(form: FormData, expected: str) -> tuple[bytes | None, dict[str, Any]]:
    fields: dict[str, Any] = {"sentences": []}
    content: bytes | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != expected:
                raise InputError(f"The form has a file named {name[:60]!r}; send one file named {expected!r}.")
            content = await value.read()
        elif name == "sentence":
            fields["sentences"].append(value)
        elif name in fields or name == expected:
            what = "is text; send it as a file" if name == expected else "is there twice; send it once"
            raise InputError(f"The form's field {name[:60]!r} {what}.")
        else:
            fields[name] = value
    return content, fields


def _as_sentence(error: ValidationError, kind: type[Asked]) -> InputError:
    """The first thing that is wrong, as a sentence; a body that is not JSON is a `Refusal`."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return Refusal(f"The body is not JSON: {first['ctx']['error']}.")
    name = ".".join(map(str, first["loc"])) or "The body"
    name = {"sentences": "sentence"}.get(name, name) if first["type"] == "too_short" else name
    if first["type"] == "extra_forbidden":
        return InputError(f"There is no field {name[:60]!r}. {did_you_mean(name, kind.model_fields)}")
    if first["type"] == "missing":
        return InputError(f"The field {name!r} is missing.")
    expected = EXPECTED.get(first["type"], first["msg"])
    return InputError(f"{name} is {_short(first['input'])}; expected {expected}.")


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 60 else written[:57] + "…"
