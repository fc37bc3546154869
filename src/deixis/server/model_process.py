"""The model in a process of its own: reading requests and writing answers does not compete with it for Python's lock.

The process ends when its pipe is closed, so also when the server is killed. It is not ended by the signals that end a
server, which may reach the whole group of processes: what runs is finished.
"""

import atexit
import logging
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from ..errors import ModelError
from .answering import Answerer, Model, Task
from .failures import WorkerLost
from .limits import Limits
from .worker import Job

POLL = 0.1  # seconds between two looks at who has left, while the model works
LAST_SECONDS = 5.0  # for the process to end by itself


class ModelProcess:
    """An `Answerer` in another process, which `start` starts; `load` and the tasks' `render` must be picklable."""

    def __init__(self, load: Callable[[], Model], limits: Limits) -> None:
        self._load, self.limits = load, limits
        self.facts: dict[str, Any] = {}
        self.on_accelerator, self.cached_bytes = False, 0
        self._process: Any = None
        self._pipe: Connection
        self._gone: Connection  # takes the numbers of jobs that nobody waits for any more
        self._numbers = count()
        atexit.register(self.stop)

    def start(self) -> None:
        """Start the process and load the model there. Raises what loading raised."""
        spawn = multiprocessing.get_context("spawn")
        (self._pipe, theirs), (gone, self._gone) = spawn.Pipe(), spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_live, args=(theirs, gone, self._load, self.limits), name="deixis-model")
        self._process.start()
        theirs.close()
        gone.close()
        self.facts, self.on_accelerator = self._receive()

    def run(self, jobs: Sequence[Job[Task, list[Any]]]) -> list[list[Any] | BaseException]:
        """As `Answerer.run`. Raises `WorkerLost` where the process ends; then `start` starts another one."""
        running = {next(self._numbers): job for job in jobs}
        try:
            self._pipe.send([(number, job.task) for number, job in running.items()])
            while not self._pipe.poll(POLL):
                for number in [number for number, job in running.items() if job.is_abandoned]:
                    self._gone.send(number)
                    del running[number]
        except OSError:
            self._lost()
        answers, self.cached_bytes = self._receive()
        return answers

    def stop(self) -> None:
        """Let the process finish what runs and end; one that does not is killed."""
        if self._process is not None:
            self._pipe.close()
            self._gone.close()
            self._process.join(LAST_SECONDS)
            self._process.kill()
            self._process.join()
            self._process = None

    def _receive(self) -> Any:
        try:
            received = self._pipe.recv()
        except (EOFError, OSError):
            self._lost()
        if isinstance(received, BaseException):
            raise received
        return received

    def _lost(self) -> NoReturn:
        self._process.join(LAST_SECONDS)
        code = self._process.exitcode
        reason = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        logging.getLogger(__name__).error("the model's process ended %s", reason)
        self.stop()
        raise WorkerLost(
            f"The model's process ended {reason}, possibly for lack of memory; it is being started again."
        ) from None


def _live(pipe: Connection, gone: Connection, load: Callable[[], Model], limits: Limits) -> None:
    """The process: load, then answer batches until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    warnings.filterwarnings("ignore")  # every Prediction carries its notes
    # One core is left for the requests: threads of a model that wait for each other wait for the slowest.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(_cores()) - 1)))
    answerer = Answerer(load, limits)
    try:
        answerer.start()
    except BaseException as error:
        pipe.send(_portable(error))
        return
    with suppress(EOFError, OSError):  # the server has closed its ends
        pipe.send((answerer.facts, answerer.on_accelerator))
        while True:
            tasks, told = pipe.recv(), set[int]()
            found = answerer.run([_Asked(task, number, gone, told) for number, task in tasks])
            pipe.send(([_portable(each) for each in found], answerer.cached_bytes))


@dataclass
class _Asked:
    """A job in the model's process."""

    task: Task
    number: int
    pipe: Connection  # brings the numbers of jobs that nobody waits for any more
    gone: set[int]  # those that have come, of all jobs of the batch

    @property
    def is_abandoned(self) -> bool:
        while self.pipe.poll():
            self.gone.add(self.pipe.recv())
        return self.number in self.gone


def _cores() -> Sequence[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _portable(answer: Any) -> Any:
    """An exception with its traceback as a note, since a traceback does not leave its process."""
    if not isinstance(answer, BaseException):
        return answer
    answer.add_note("".join(traceback.format_exception(answer)))
    try:
        pickle.loads(pickle.dumps(answer))
    except Exception:
        return ModelError(f"The model failed: {type(answer).__name__}.")
    return answer
