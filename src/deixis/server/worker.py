"""One worker thread behind a bounded queue; it knows neither HTTP nor models."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, Literal, TypeVar

from .failures import TooManyAtOnce, Unavailable, WorkerLost

Task = TypeVar("Task")
Answer = TypeVar("Answer")
State = Literal["loading", "ready", "failed", "stopping"]
FIRST_GUESS, MEMORY = 1.0, 0.9  # seconds of service before any is known, and the weight of the past in their mean

REFUSED: dict[State, str] = {
    "loading": "The model is being loaded; try again in a few seconds.",
    "failed": "The model could not be loaded; the server's log says why.",
    "stopping": "The server is stopping; try again when it has been started again.",
}


class Job(Generic[Task, Answer]):
    """A task in the queue, and the future of its answer."""

    def __init__(self, task: Task, owner: str | None = None) -> None:
        self.task, self.owner = task, owner
        self.future: Future[Answer] = Future()
        self.is_abandoned = False
        self.arrived = self.began = self.ended = time.monotonic()

    def abandon(self) -> None:
        """Nobody waits for the answer any more: a job that has not begun never will, and others may stop early."""
        self.is_abandoned = True
        self.future.cancel()

    @property
    def seconds(self) -> dict[str, float]:
        """How long it waited, and how long it took."""
        return {"queue": self.began - self.arrived, "model": self.ended - self.began}


class Worker(Generic[Task, Answer]):
    """Runs jobs in the order of their arrival, one batch at a time, in one thread.

    After `begin`, `start` is called in that thread; until it returns, jobs are refused. `run` gets up to `most` jobs
    and returns for each its answer, or the exception that it failed with. Where it raises `WorkerLost`, `start` is
    called again, and what waits goes on waiting. Jobs that arrive within `window` seconds after the first of a batch
    join it. At most `length` jobs wait, and at most `most_of_one` of one owner unless that is 0.
    """

    def __init__(
        self,
        start: Callable[[], object],
        run: Callable[[Sequence[Job[Task, Answer]]], Sequence[Answer | BaseException]],
        *,
        length: int,
        most_of_one: int = 0,
        window: float = 0.0,
        most: int = 1,
    ) -> None:
        self._start, self._run = start, run
        self.length, self.most_of_one, self.window, self.most = length, most_of_one, window, most
        self.state: State = "loading"
        self.failure: BaseException | None = None  # of `start`
        self.service_seconds = FIRST_GUESS
        self._waiting: deque[Job[Task, Answer]] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._live, name="deixis-model", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def __len__(self) -> int:
        """How many jobs wait."""
        return sum(not job.is_abandoned for job in tuple(self._waiting))

    @property
    def is_full(self) -> bool:
        return len(self) >= self.length

    @property
    def retry_after(self) -> int:
        """Whole seconds after which all that waits now will be done."""
        return math.ceil((len(self) + 1) * self.service_seconds / self.most)

    def check(self) -> None:
        """Raises `Unavailable` where a job would be refused now."""
        if self.state != "ready":
            raise Unavailable(REFUSED[self.state], retry_after=5)
        if self.is_full:
            raise Unavailable(
                f"{self.length} requests are waiting for the model already; try again in {self.retry_after} s.",
                retry_after=self.retry_after,
            )

    def submit(self, task: Task, owner: str | None = None) -> Job[Task, Answer]:
        """Queue the task. Raises `Unavailable` where the queue is full, the owner's share is, or no job is accepted."""
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.is_abandoned)
            self.check()
            of_owner = sum(job.owner == owner for job in self._waiting)
            if owner is not None and 0 < self.most_of_one <= of_owner:
                raise TooManyAtOnce(
                    f"{of_owner} of your requests are waiting already; try again in {self.retry_after} s.",
                    retry_after=self.retry_after,
                )
            job: Job[Task, Answer] = Job(task, owner)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def stop(self) -> None:
        """Refuse what waits and what comes; what runs is finished."""
        with self._changed:
            self.state = "stopping"
            while self._waiting:
                self._finish(self._waiting.popleft(), Unavailable(REFUSED["stopping"], retry_after=5))
            self._changed.notify()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(seconds)

    def _live(self) -> None:
        while self._is_ready():
            try:
                self._work()
            except BaseException:  # whatever was raised into this thread, the next job is run
                logging.getLogger(__name__).exception("the worker was interrupted")

    def _is_ready(self) -> bool:
        """Whether jobs can be run; calls `start` first where that is needed."""
        if self.state == "loading":
            try:
                self._start()
            except BaseException as error:
                self.failure, self.state = error, "failed"
                return False
            self._change("loading", "ready")
        return self.state == "ready"

    def _change(self, old: State, new: State) -> None:
        with self._changed:
            if self.state == old:
                self.state = new

    def _work(self) -> None:
        """Run jobs until the worker is not ready any more."""
        while self.state == "ready" and (batch := self._next()):
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if not running:
                continue
            began = time.monotonic()
            for job in running:
                job.began = began
            answers: Sequence[Answer | BaseException] = [RuntimeError("the worker was interrupted")] * len(running)
            try:
                answers = self._run(running)
            except Exception as error:
                answers = [error] * len(running)
                if isinstance(error, WorkerLost):
                    self._change("ready", "loading")
            finally:  # also when this thread is interrupted
                ended = time.monotonic()
                self.service_seconds = MEMORY * self.service_seconds + (1 - MEMORY) * (ended - began)
                for job, answer in zip(running, answers, strict=True):
                    job.ended = ended
                    self._finish(job, answer)

    def _next(self) -> list[Job[Task, Answer]]:
        """The next batch, once there is one; empty when the worker stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.state == "stopping")
            if self.window and len(self._waiting) < self.most:
                self._changed.wait_for(lambda: len(self._waiting) >= self.most, timeout=self.window)
            return [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]

    def _finish(self, job: Job[Task, Answer], answer: Answer | BaseException) -> None:
        if not job.future.running() and not job.future.set_running_or_notify_cancel():
            return
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
