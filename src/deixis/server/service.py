"""Everything that one server process holds, and the way of a question through the queue."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from starlette.requests import Request

from .answering import Task
from .bodies import Bodies
from .failures import ClientGone, TimeLimit
from .limits import Limits
from .traffic import Log, Traffic
from .worker import Job, Worker

WINDOW = 0.01  # seconds that a batch waits for more questions
LARGEST_BATCH = 8  # questions


@runtime_checkable
class Answers(Protocol):
    """What runs the model: an `Answerer` in this process, or a `ModelProcess`."""

    facts: dict[str, Any]  # about the model, for callers; empty until it is loaded

    @property
    def on_accelerator(self) -> bool: ...
    @property
    def cached_bytes(self) -> int: ...

    def start(self) -> None: ...
    def run(self, jobs: Sequence[Job[Task, list[Any]]]) -> Sequence[list[Any] | BaseException]: ...
    def stop(self) -> None: ...


class Service:
    """The model behind its queue, and the counters; it starts to load the model at once."""

    def __init__(self, answerer: Answers, limits: Limits, *, log: Log = print) -> None:
        self.limits, self.bodies, self.answerer = limits, Bodies(limits), answerer
        self.worker: Worker[Task, list[Any]] = Worker(
            self._start, answerer.run, length=limits.queue, most_of_one=limits.per_client
        )
        self.traffic = Traffic(lambda: len(self.worker), lambda: answerer.cached_bytes, log)
        self.worker.begin()

    def _start(self) -> None:
        self.answerer.start()
        if self.answerer.on_accelerator:  # a CPU takes as long for a batch as for its parts
            self.worker.window, self.worker.most = WINDOW, LARGEST_BATCH

    @property
    def model(self) -> dict[str, str]:
        """Name and version, once the model is loaded."""
        return {name: self.answerer.facts[name] for name in ("name", "version")}

    def stop(self) -> None:
        """Finish what runs, refuse the rest; a model that is still being loaded is not waited for."""
        self.worker.stop()
        if self.answerer.facts:
            self.worker.join(self.limits.seconds)
        self.answerer.stop()

    async def ask(self, task: Task, request: Request | None = None) -> tuple[list[Any], dict[str, float]]:
        """What `task.render` made of each sentence's Prediction, and the seconds in the queue and in the model.

        A job is dropped when the client of `request`, whose body must have been read, is gone, and after the limit of
        seconds. Raises `Unavailable`, `TimeLimit`, or what the model raised.
        """
        client = None if request is None else request.client
        job = self.worker.submit(task, None if client is None else client.host)
        answer = asyncio.wrap_future(job.future)
        leaving = None if request is None else asyncio.ensure_future(_gone(request))
        try:
            watched = [one for one in (answer, leaving) if one is not None]
            await asyncio.wait(watched, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answers = answer.result()
                self.traffic.answered(job.seconds, len(answers))
                return answers, {name: round(seconds, 4) for name, seconds in job.seconds.items()}
            if leaving is not None and leaving.done():
                raise ClientGone("The client has gone before its answer was ready.")
            raise TimeLimit(f"The answer takes more than {self.limits.seconds:g} s; ask about fewer sentences at once.")
        finally:
            _drop(job, answer)
            if leaving is not None:
                leaving.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _drop(job: Job[Task, list[Any]], answer: "asyncio.Future[list[Any]]") -> None:
    if not answer.done():
        job.abandon()
        # What a dropped job still fails with is nobody's error.
        answer.add_done_callback(lambda future: future.cancelled() or future.exception())
        answer.cancel()
