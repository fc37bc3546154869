"""Requests that must be refused, each with the status that it gets; afterwards the server answers as before."""

import base64
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.stub import Served, photo, serve

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
IMAGE = base64.b64encode(photo()).decode()


@pytest.fixture(scope="module")
def served() -> Served:
    return serve(megabytes=1.0, megapixels=0.01)


def png_that_declares(width: int, height: int) -> bytes:
    """A valid PNG of one colour, compressed a thousandfold."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compress(bytes((width + 1) * min(height, 100)), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def form(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body; `parts` are headers and contents."""
    return (
        b"".join(b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + b"--x--\r\n"
    )


def with_image(content: bytes, *more: tuple[str, bytes], name: str = "a.png", field: str = "image") -> bytes:
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
    return form((head, content), ('Content-Disposition: form-data; name="sentence"', b"red"), *more)


def fields(name: str, count: int) -> list[tuple[str, bytes]]:
    return [(f'Content-Disposition: form-data; name="{name}"', b"red")] * count


def json_with(more: str) -> bytes:
    return f'{{"image": "{IMAGE}", "sentences": ["red"], {more}}}'.encode()


ATTACKS: dict[str, tuple[bytes, dict[str, str], int]] = {
    # images
    "a bomb of 400 megapixels": (with_image(png_that_declares(20_000, 20_000)), FORM, 413),
    "a bomb of four gigapixels": (with_image(png_that_declares(65_000, 65_000)), FORM, 413),
    "more pixels than the server's limit": (with_image(photo(200, 200)), FORM, 413),
    "a truncated image": (with_image(photo(90, 90)[:-30]), FORM, 415),
    "a header without pixels": (with_image(photo()[:33]), FORM, 415),
    "text instead of an image": (with_image(b"hello"), FORM, 415),
    "an SVG": (
        with_image(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"),
        FORM,
        415,
    ),
    "an EPS, which starts a program": (with_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), FORM, 415),
    "an empty file": (with_image(b""), FORM, 415),
    "an address": (b'{"image": "http://169.254.169.254/latest", "sentences": ["red"]}', JSON, 400),
    "a path": (b'{"image": "/etc/passwd", "sentences": ["red"]}', JSON, 400),
    "a data URL of text": (b'{"image": "data:text/html,hello", "sentences": ["red"]}', JSON, 400),
    "a file that is named like a path and is none": (with_image(b"x", name="../../etc/passwd"), FORM, 415),
    # forms
    "10,000 fields": (with_image(photo(), *fields("sentence", 10_000)), FORM, 400),
    "10,000 files": (form(*[('Content-Disposition: form-data; name="image"; filename="a"', b"x")] * 10_000), FORM, 400),
    "two images": (
        with_image(photo(), ('Content-Disposition: form-data; name="image"; filename="b"', photo())),
        FORM,
        400,
    ),
    "a file of another name": (with_image(photo(), field="upload"), FORM, 422),
    "a part without a name": (form(("Content-Disposition: form-data", b"red")), FORM, 400),
    "a part without a header": (form(("X: y", b"red")), FORM, 400),
    "a form that ends early": (with_image(photo())[:-20], FORM, 422),
    "no boundary": (with_image(photo()), {"Content-Type": "multipart/form-data"}, 400),
    "bytes that are not a form": (b"\x00\xff" * 100, FORM, 400),
    "a long field": (
        with_image(photo(), ('Content-Disposition: form-data; name="threshold"', b"0" * 20_000)),
        FORM,
        400,
    ),
    "an unknown field that names a path": (with_image(photo(), *fields("../../x", 1)), FORM, 422),
    "too large": (with_image(b"x" * 1_100_000), FORM, 413),
    # JSON
    "not JSON": (b"{", JSON, 400),
    "no text": (b"\xff\xfe", JSON, 400),
    "a list": (b"[]", JSON, 422),
    "nested a hundred thousand times": (b"[" * 100_000 + b"]" * 100_000, JSON, 400),
    "a NaN threshold": (json_with('"threshold": NaN'), JSON, 422),
    "an infinite threshold": (json_with('"threshold": Infinity'), JSON, 422),
    "a number beyond floats": (json_with('"threshold": 1e999'), JSON, 422),
    "a number of 100,000 digits": (json_with('"threshold": ' + "9" * 100_000), JSON, 400),
    "a threshold of minus zero": (json_with('"threshold": -0.0'), JSON, 422),
    "a number as a sentence": (f'{{"image": "{IMAGE}", "sentences": [1]}}'.encode(), JSON, 422),
    "no sentences": (f'{{"image": "{IMAGE}", "sentences": []}}'.encode(), JSON, 422),
    "10,000 sentences": (
        f'{{"image": "{IMAGE}", "sentences": [{",".join(["1"] * 9_999)}, "red"]}}'.encode(),
        JSON,
        422,
    ),
    "65 sentences": (
        f'{{"image": "{IMAGE}", "sentences": [{",".join([chr(34) + "a" + chr(34)] * 65)}]}}'.encode(),
        JSON,
        422,
    ),
    "a field that is unknown": (json_with('"__class__": "x"'), JSON, 422),
    # types
    "text, as a foreign page may send": (b"red", {"Content-Type": "text/plain"}, 415),
    "a plain form, as a foreign page may send": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "no type": (b"red", {}, 415),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_request_that_must_be_refused(served: Served, name: str) -> None:
    body, headers, status = ATTACKS[name]
    answer = served.client.post("/v1/segment", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert len(error["message"]) < 400
    assert "Traceback" not in answer.text
    assert served.service.bodies.held == 0
    assert served.client.post("/v1/segment", content=with_image(photo()), headers=FORM).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),  # a name that was bound to this machine
        ({"Host": "evil.example:8000"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
    ],
)
def test_foreign_hosts_and_pages_are_refused(served: Served, headers: dict[str, str], status: int) -> None:
    answer = served.client.post("/v1/segment", content=with_image(photo()), headers={**FORM, **headers})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/static/../app.py",
        "/app.py",
        "/index.html/../../guard.py",
        "/%00",
        "//etc/passwd",
        "/docs",
        "/redoc",
    ],
)
def test_no_path_leads_to_a_file(served: Served, path: str) -> None:
    assert served.client.get(path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_and_nothing_is_shared_with_other_sites(served: Served, method: str) -> None:
    answer = served.client.request(method, "/v1/segment")
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_what_a_caller_writes_is_escaped_in_the_log(served: Served) -> None:
    served.client.get("/a%0a%7b%22status%22:200%7d%1b[31m")
    assert len(served.log[-1].splitlines()) == 1
    assert "\x1b" not in served.log[-1]


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer 0123456789abcde",
        "Basic !!!",
        "Basic OnRva2Vu",
        "Digest x",
        "Bearer ü",
    ],
)
def test_a_wrong_token_is_refused_on_every_path(given: str | None) -> None:
    from deixis.server.guard import Access

    served = serve(Access(token="0123456789abcdef"))
    headers: Any = {} if given is None else {"Authorization": given.encode()}
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
        answer = served.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert "0123456789abcde" not in "".join(served.log)


def test_every_answer_has_the_headers_of_a_page_that_loads_nothing_foreign(served: Served) -> None:
    ask: Callable[..., Any] = served.client.get
    for path in ("/", "/nothing", "/v1/models"):
        headers = ask(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
