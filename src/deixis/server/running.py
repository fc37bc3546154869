"""The listening process: uvicorn with a limit on slow heads, and an orderly end on SIGTERM."""

import asyncio
import ctypes
import resource
import signal
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import InputError
from .service import Service

HEAD_SECONDS = 10.0  # until the head of a connection's first request must have arrived
BACKLOG = 2048
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 64 * 1024  # of glibc's malloc.h, and bytes


class Protocol(H11Protocol):
    """Closes a connection that does not begin a request in time; uvicorn waits for ever."""

    _limit: asyncio.TimerHandle | None = None  # of the connection; a timer that is not cancelled keeps its request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_unless_begun_after(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._close_unless_begun_after(HEAD_SECONDS + self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn lets it run where the client has reset the connection
        self._cancel()

    def _close_unless_begun_after(self, seconds: float) -> None:
        self._cancel()
        self._limit = self.loop.call_later(seconds, self._close_if_still, self.cycle)

    def _close_if_still(self, cycle: Any) -> None:
        if self.cycle is cycle:
            self.transport.abort()

    def _cancel(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class Server(uvicorn.Server):
    """Stops when the model cannot be loaded; on SIGTERM refuses what waits before it waits for what runs."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.service.worker.state == "failed"

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.worker.stop()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `InputError` where the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The address {host} port {port} cannot be used: {reason}; give another --port.") from error
    return listening


def run(app: ASGIApp, service: Service, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises what the model failed to load with."""
    _allow_many_connections()
    _return_large_blocks()
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=round(service.limits.seconds) + 1,
    )
    # uvicorn raises the signal again when it has stopped; the end was orderly, so the exit code is 0.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        Server(config, service).run([listening])
    finally:
        signal.signal(signal.SIGTERM, before)
    if service.worker.failure is not None:
        raise service.worker.failure


def _allow_many_connections() -> None:
    """As many open files as this process may have: connections that stay half open must not shut others out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))


def _return_large_blocks() -> None:
    """Let the memory of bodies go back to the system when they are freed.

    glibc raises the size from which it does so after the first one, and keeps the rest in pieces.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
