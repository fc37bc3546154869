"""Processes that tests start, each a fork of one that has imported what takes seconds."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = ["accelerate", "torch._dynamo", "torch.utils.tensorboard", "deixis.cli.train", "deixis.recipes.catalogue"]
PRELOADED += ["deixis.runs.execute", "deixis.training.loop", "deixis.evaluation.scoring", "pytest"]


@dataclass(frozen=True)
class Started:
    process: BaseProcess
    stderr: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def wait(self, timeout: float = 300.0) -> tuple[int, str]:
        """The exit code, negative for a signal, and what was written to stderr. Raises `TimeoutError`."""
        self.process.join(timeout)
        code = self.process.exitcode
        written = self.stderr.read_text()
        self.stderr.unlink()
        if code is None:
            self.process.kill()
            raise TimeoutError(f"The process still ran after {timeout} s. It wrote: {written}")
        return code, written


def start(run: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] | None = None) -> Started:
    """`run(*arguments)`, a function of a module, in a process with `environment`, by default this one's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    handle, name = tempfile.mkstemp(suffix=".stderr")
    os.close(handle)
    given = {**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"}
    process = context.Process(target=_run, args=(run, arguments, given, name))
    process.start()
    return Started(process, Path(name))


def in_each_of_two(run: Callable[..., Any], *arguments: Any) -> None:
    """`run(*arguments, rank)` in two processes at a time."""
    started = [start(run, *arguments, rank) for rank in (0, 1)]
    ended = [one.wait() for one in started]
    assert [code for code, _ in ended] == [0, 0], ended


def _run(run: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], stderr: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with open(stderr, "w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    import torch

    torch.set_num_threads(1)
    code = run(*arguments)
    sys.stderr.flush()
    sys.exit(code if isinstance(code, int) else 0)
