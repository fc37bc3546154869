"""What stands between the network and the application: who may ask, how much, how slowly, and how it is recorded."""

import asyncio
import hmac
import re
import secrets
import time
import traceback
from base64 import b64decode
from binascii import Error
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import failures
from .failures import Foreign, NoToken, Refusal
from .limits import Limits
from .traffic import Traffic

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
LOCAL = {"localhost", "127.0.0.1", "[::1]"}
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# For a page whose scripts, styles and pictures are files of the same server.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
DISCARD_SECONDS = 2.0
# Without a token: the page, which asks for it, and probes, which have none.
OPEN = {"/", "/page.js", "/clip.js", "/page.css", "/health/live", "/health/ready"}
BASIC_BELOW = "/label-studio"  # Label Studio sends its password there as HTTP Basic


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask. With a token every host name is served, since a foreign page does not know the token."""

    token: str | None = None
    hosts: frozenset[str] = frozenset()  # beside this machine's own names

    def check(self, path: str, headers: Headers) -> None:
        """Raises `Refusal` for a foreign host name, a foreign page, or a wrong token."""
        host = headers.get("host", "")
        name = re.sub(r":\d+$", "", host).lower()
        if self.token is None and name not in LOCAL | self.hosts:
            raise Foreign(
                f"The server was asked for as {name[:60]!r}; it answers to localhost. To add a name, start it with "
                "--host-name NAME."
            )
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Foreign("The request comes from a page of another site; use this server's own page.")
        if self.token is not None and path not in OPEN and not path.startswith("/example-"):
            self._check_token(headers.get("authorization", ""))

    def _check_token(self, authorization: str) -> None:
        assert self.token is not None
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                given = b64decode(given, validate=True).decode("utf-8", "replace").partition(":")[2]
            except (Error, ValueError):
                given = ""
        elif scheme.lower() != "bearer":
            given = ""
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            raise NoToken("The token is missing or wrong; send the header 'Authorization: Bearer TOKEN'.")


class Guard:
    """The outermost ASGI application: access, request ids, headers, time limits for sending, the log, all errors."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, traffic: Traffic) -> None:
        self.app, self.access, self.limits, self.traffic = app, access, limits, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()


class _Exchange:
    """One request and its response."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.headers = Headers(scope=scope)
        self.is_unread = "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"
        given = self.headers.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.status, self.began = 0, time.monotonic()
        self.facts: dict[str, Any] = {}  # what handlers add to the line in the log
        scope["state"] = {**scope.get("state", {}), "facts": self.facts, "request_id": self.id}

    async def run(self) -> None:
        try:
            self.guard.access.check(self.scope["path"], self.headers)
            await self.guard.app(self.scope, self.receive, self.send)
        except Exception as error:
            if not self.status:  # otherwise a part of another response has been sent
                await response_to(error, self.scope)(self.scope, self.receive, self.send)
        finally:
            self.guard.traffic.requests.labels(str(self.status)).inc()
            self.guard.traffic.write(
                id=self.id,
                method=self.scope["method"],
                path=self.scope["path"][:200],
                status=self.status,
                seconds=round(time.monotonic() - self.began, 4),
                **self.facts,
            )

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_unread = self.is_unread and message.get("more_body", False)
        return message

    async def _discard_rest(self) -> None:
        """Read what the client still sends: a connection closed before that is reset, and the answer may be lost."""
        left = self.guard.limits.bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(min(DISCARD_SECONDS, self.guard.limits.seconds_to_send)):
                while self.is_unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status != HTTPStatus.REQUEST_TIMEOUT:
                await self._discard_rest()
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        # A client that does not read its answer keeps it in memory.
        await asyncio.wait_for(self._send(message), self.guard.limits.seconds_to_send)


def response_to(error: Exception, scope: Scope) -> JSONResponse:
    """The one shape of all errors; the sentence, and the traceback of what was not foreseen, go to the log."""
    state = scope["state"]
    message = failures.sentence(error)
    if isinstance(error, HTTPException):  # of the framework: no such path, or not with this method
        status, code, message = error.status_code, "http", f"{error.detail}: {scope['method']} {scope['path'][:200]}"
    else:
        status, code = failures.status_and_code(error)
    state["facts"]["error"] = message[:500]
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        state["facts"]["traceback"] = "".join(traceback.format_exception(error))
    response = JSONResponse(failures.shape(code, message, state["request_id"]), status)
    if isinstance(error, Refusal) and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        below = scope["path"].startswith(BASIC_BELOW)
        response.headers["WWW-Authenticate"] = 'Basic realm="deixis"' if below else 'Bearer realm="deixis"'
    return response
