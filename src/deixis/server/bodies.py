"""Bodies of requests in memory: each of them and all together bounded, and none sent slower than a limit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from .failures import ClientGone, TooLarge, TooSlow, Unavailable
from .limits import Limits


class Bodies:
    """Counts the bytes that are held now."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.held = limits, 0

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytearray]:
        """The request's body, which counts as held until the block is left; what is not needed is to be cleared."""
        body, received = bytearray(), 0
        try:
            self._check_length(request.headers.get("content-length"))
            async with asyncio.timeout(self.limits.seconds_to_send) as reading:
                async for part in request.stream():
                    body += part
                    received += len(part)
                    self.held += len(part)
                    self._check(received)
            yield body
        except TimeoutError:
            if not reading.expired():
                raise
            raise TooSlow(
                f"The request was not sent within {self.limits.seconds_to_send:g} s; send it faster."
            ) from None
        except ClientDisconnect:
            raise ClientGone("The client has gone before its request was complete.") from None
        finally:
            self.held -= received

    def _check_length(self, declared: str | None) -> None:
        if declared is not None and declared.isdecimal():
            self._check(int(declared[:20]))

    def _check(self, num_bytes: int) -> None:
        if num_bytes > self.limits.bytes:
            raise TooLarge(f"The request has more than {self.limits.megabytes:g} MB; make the image smaller first.")
        if self.held > self.limits.received_megabytes * 1e6:
            raise Unavailable("Too many large requests are being sent at once; try again in 2 s.", retry_after=2)
