"""What a request can fail with: for each failure its HTTP status, its short code, and a sentence for the caller."""

from typing import Any

from ..errors import InputError, ModelError

INTERNAL = "The server failed in a way that it does not know; its log has the details."


class Refusal(InputError):  # noqa: N818
    """A request that is not answered; subclasses say with which status."""

    status = 400
    code = "bad_request"

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class ClientGone(Refusal):
    """Nobody reads the answer; the status is for the log and the counters."""

    code = "client_gone"


class NoToken(Refusal):
    status, code = 401, "no_token"


class Foreign(Refusal):
    """A page of another site, or a host name that is not this server's."""

    status, code = 403, "foreign"


class TooSlow(Refusal):
    """The client did not send its request in time."""

    status, code = 408, "too_slow"


class TooLarge(Refusal):
    status, code = 413, "too_large"


class WrongType(Refusal):
    """A body or an image of a type that is not read."""

    status, code = 415, "wrong_type"


class WorkerLost(ModelError):  # noqa: N818
    """What runs the model has ended; it can be started again."""


class Unavailable(Refusal):
    """The queue is full, or the model is not ready, or no longer."""

    status, code = 503, "unavailable"


class TooManyAtOnce(Unavailable):
    """One client holds as many places in the queue as it may."""

    status, code = 429, "too_many_at_once"


class TimeLimit(Refusal):
    """The answer took longer than the server's own limit."""

    status, code = 504, "time_limit"


def status_and_code(error: BaseException) -> tuple[int, str]:
    """The HTTP status and the short code of an exception."""
    if isinstance(error, Refusal):
        return error.status, error.code
    if isinstance(error, InputError):
        return 422, "invalid"
    return 500, "model" if isinstance(error, ModelError) else "internal"


def sentence(error: BaseException) -> str:
    """What the caller reads; nothing of an exception that is not deixis' own."""
    return str(error) if isinstance(error, InputError | ModelError) else INTERNAL


def shape(code: str, message: str, request_id: str) -> dict[str, Any]:
    """The body of every error, whatever raised it."""
    return {"error": {"code": code, "message": message, "request_id": request_id}}
