"""The bounded queue: order, refusal, batches, jobs that nobody waits for, and a thread that survives."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from deixis.server.failures import TooManyAtOnce, Unavailable
from deixis.server.worker import Job, Worker


class Gate:
    """A `run` that waits until it is opened; it records the tasks of each batch."""

    def __init__(self) -> None:
        self.open, self.begun, self.batches = threading.Event(), threading.Event(), list[list[Any]]()

    def __call__(self, jobs: Sequence[Job[Any, Any]]) -> list[Any]:
        self.batches.append([job.task for job in jobs])
        self.begun.set()
        assert self.open.wait(5)
        return [ValueError(job.task) if job.task == "bad" else f"{job.task}!" for job in jobs]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def worker(gate: Gate) -> Iterator[Worker[Any, Any]]:
    one: Worker[Any, Any] = Worker(lambda: None, gate, length=2)
    one.begin()
    wait(lambda: one.state == "ready")
    yield one
    gate.open.set()
    one.stop()
    one.join(5.0)


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "took more than 5 s"
        time.sleep(0.001)


def busy(worker: Worker[Any, Any], gate: Gate) -> Job[Any, Any]:
    """The worker with a job that runs."""
    job = worker.submit("first")
    assert gate.begun.wait(5)
    return job


def test_answers_come_in_order_and_an_error_ends_only_its_own_job(worker: Worker[Any, Any], gate: Gate) -> None:
    gate.open.set()
    assert worker.submit("a").future.result(5) == "a!"
    with pytest.raises(ValueError, match="bad"):
        worker.submit("bad").future.result(5)
    job = worker.submit("b")
    assert job.future.result(5) == "b!"
    assert gate.batches == [["a"], ["bad"], ["b"]]
    assert set(job.seconds) == {"queue", "model"}
    assert min(job.seconds.values()) >= 0


def test_a_full_queue_refuses_and_says_when_to_come_again(worker: Worker[Any, Any], gate: Gate) -> None:
    busy(worker, gate)
    worker.submit("b"), worker.submit("c")
    assert worker.is_full
    with pytest.raises(Unavailable, match="2 requests are waiting") as refused:
        worker.submit("d")
    assert refused.value.retry_after == 3  # three services of one second, the first guess


def test_one_owner_has_a_share_of_the_queue(worker: Worker[Any, Any], gate: Gate) -> None:
    worker.length, worker.most_of_one = 4, 1
    busy(worker, gate)
    worker.submit("b", "one")
    with pytest.raises(TooManyAtOnce, match="1 of your requests") as refused:
        worker.submit("c", "one")
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    worker.submit("d", "another").abandon()
    worker.submit("e", "another")


def test_an_abandoned_job_frees_its_place_and_never_runs(worker: Worker[Any, Any], gate: Gate) -> None:
    busy(worker, gate)
    gone, stays = worker.submit("gone"), worker.submit("stays")
    gone.abandon()
    assert len(worker) == 1
    third = worker.submit("third")
    gate.open.set()
    assert (stays.future.result(5), third.future.result(5)) == ("stays!", "third!")
    assert ["gone"] not in gate.batches


def test_stopping_finishes_what_runs_and_refuses_the_rest(worker: Worker[Any, Any], gate: Gate) -> None:
    running, waiting = busy(worker, gate), worker.submit("b")
    worker.stop()
    with pytest.raises(Unavailable, match="stopping"):
        waiting.future.result(5)
    with pytest.raises(Unavailable, match="stopping"):
        worker.submit("c")
    gate.open.set()
    assert running.future.result(5) == "first!"
    worker.join(5.0)
    assert not worker._thread.is_alive()


def test_jobs_that_arrive_within_the_window_share_a_batch(worker: Worker[Any, Any], gate: Gate) -> None:
    worker.window, worker.most, worker.length = 1.0, 2, 4
    first = busy_batch = [worker.submit(name) for name in "ab"]
    gate.open.set()
    assert [job.future.result(5) for job in first] == ["a!", "b!"]
    assert busy_batch is first
    assert gate.batches == [["a", "b"]]


def test_a_thread_that_is_interrupted_lives_on_and_its_job_fails(worker: Worker[Any, Any], gate: Gate) -> None:
    job = busy(worker, gate)
    thread = worker._thread.ident
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread or 0), ctypes.py_object(SystemExit)) == 1
    gate.open.set()
    with pytest.raises(RuntimeError, match="interrupted"):
        job.future.result(5)
    assert worker.submit("next").future.result(5) == "next!"


def test_jobs_are_refused_until_the_model_is_loaded_and_for_ever_where_it_cannot_be(gate: Gate) -> None:
    loaded = threading.Event()

    def load() -> None:
        loaded.wait(5)
        raise OSError("no such file")

    worker: Worker[Any, Any] = Worker(load, gate, length=1)
    worker.begin()
    with pytest.raises(Unavailable, match="being loaded"):
        worker.submit("a")
    loaded.set()
    wait(lambda: worker.state == "failed")
    assert isinstance(worker.failure, OSError)
    with pytest.raises(Unavailable, match="could not be loaded"):
        worker.submit("a")
