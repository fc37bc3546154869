"""The engine `local`: processes of one machine, each with a model of its own, which write Parquet files."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from ...predict.segmenter import Segmenter
from .parquet import write_part
from .rows import Asking, Row, answer_rows, failed

DIED = "the process that computed this row died; its memory may have been too small"
AHEAD = 2  # chunks that wait for each process

_segmenter: Segmenter | None = None  # of this process
_asking: Asking | None = None


def predict_locally(
    rows: Iterable[Sequence[Row]], asking: Asking, out: Path, workers: int, advance: Callable[[int, int], None]
) -> None:
    """Answer chunks of rows; `advance` is called with the rows and the errors of each chunk that is on disk.

    Processes start anew, because the threads of a loaded model do not survive a fork. Where one dies, the rows that
    were in work are computed again one by one, and one that ends its process a second time gets an error.
    """
    suspects: list[Row] = []
    waiting = iter(rows)
    while True:
        lost = _run(waiting, asking, out, workers, advance)
        if not lost:
            break
        suspects += lost
    for row in suspects:
        if _run(iter([[row]]), asking, out, 1, advance):
            write_part(out, [failed(row, DIED, asking.model)])
            advance(1, 1)


def _run(
    waiting: Iterator[Sequence[Row]], asking: Asking, out: Path, workers: int, advance: Callable[[int, int], None]
) -> list[Row]:
    """Answer chunks until there are none, or until a process dies: then the rows that were in work are returned."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(asking,))
    running: dict[Future[Any], Sequence[Row]] = {}
    lost: list[Row] = []
    try:
        while True:
            while not lost and len(running) < AHEAD * workers and (chunk := next(waiting, None)) is not None:
                try:
                    running[pool.submit(_answer, chunk, out)] = chunk
                except BrokenProcessPool:
                    lost += chunk
            if not running:
                return lost
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                chunk = running.pop(done)
                try:
                    advance(len(chunk), done.result())
                except BrokenProcessPool:
                    lost += chunk
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(asking: Asking) -> None:
    global _segmenter, _asking
    import warnings

    warnings.filterwarnings("ignore")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _segmenter, _asking = asking.segmenter(), asking


def _end_with_parent() -> None:
    """End this process when its parent has ended: one that was killed tells nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(chunk: Sequence[Row], out: Path) -> int:
    """Write the chunk's answers; returns the number of errors among them."""
    assert _segmenter is not None
    assert _asking is not None
    records = answer_rows(_segmenter, chunk, _asking)
    write_part(out, records)
    return sum(record["error"] is not None for record in records)
