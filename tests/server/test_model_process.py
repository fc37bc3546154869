"""The model in a process of its own: answers, errors, clients that leave, a process that is killed, and the end."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from deixis.errors import InputError, ModelError
from deixis.server import answers
from deixis.server.answering import Task
from deixis.server.failures import WorkerLost
from deixis.server.limits import Limits
from deixis.server.model_process import ModelProcess
from deixis.server.requests import Asked
from deixis.server.service import Service
from deixis.server.worker import Job
from tests.server.stub import Redness, photo

RENDER = partial(answers.to_json, asked=Asked(sentences=["red"]))


def missing() -> Redness:
    raise InputError("There is no such model.")


def task(*sentences: str) -> Task:
    return Task(content=photo(), sentences=sentences, render=RENDER)


@pytest.fixture(scope="module")
def process() -> Iterator[ModelProcess]:
    one = ModelProcess(Redness, Limits())
    one.start()
    yield one
    one.stop()
    assert one._process is None


def test_answers_and_errors_come_back_with_the_traceback(process: ModelProcess) -> None:
    found, broken, bug = process.run([Job(task(sentence)) for sentence in ("red", "break", "bug")])
    assert isinstance(found, list)
    assert found[0]["box"] == [2, 1, 4, 3]
    assert process.facts["name"] == "redness"
    assert process.cached_bytes == 3 * 8 * 12
    assert isinstance(broken, ModelError)
    assert str(broken) == "The model is broken."
    assert isinstance(bug, RuntimeError)
    assert "Traceback" in bug.__notes__[0]
    assert "stub.py" in bug.__notes__[0]


def test_a_job_that_nobody_waits_for_ends_early(process: ModelProcess) -> None:
    job = Job(task(*["slow"] * 40))  # two seconds
    threading.Timer(0.1, job.abandon).start()
    began = time.monotonic()
    (found,) = process.run([job])
    assert isinstance(found, list)
    assert 0 < len(found) < 20
    assert time.monotonic() - began < 1.5
    assert len(process.run([Job(task("red", "red"))])[0]) == 2  # type: ignore[arg-type]


def test_signals_to_the_whole_group_do_not_end_what_runs(process: ModelProcess) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process._process.pid, number)
    assert isinstance(process.run([Job(task("red"))])[0], list)


def test_a_killed_process_is_started_again_and_what_waits_is_answered() -> None:
    service = Service(process := ModelProcess(Redness, Limits()), Limits(), log=lambda line: None)
    while service.worker.state == "loading":
        time.sleep(0.01)
    running = service.worker.submit(task(*["slow"] * 64))
    waiting = service.worker.submit(task("red"))
    time.sleep(0.05)
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="ended by signal 9"):
        running.future.result(10)
    assert waiting.future.result(20)[0]["found"]
    service.stop()
    assert process._process is None


def test_a_model_that_cannot_be_loaded_raises_where_it_is_started() -> None:
    process = ModelProcess(missing, Limits())
    with pytest.raises(InputError, match="no such model"):
        process.start()
    process.stop()
