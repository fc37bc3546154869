"""Progress on stderr: a live bar on a terminal; in a log file nothing, or plain lines where numbers are reported."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """A context in which `advance` moves the bar; stdout stays free for results.

    `done` of `total` steps are complete at the start. With `quiet` nothing is shown.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        self.total, self.start, self.began = total, done, time.monotonic()
        self.console = Console(stderr=True, quiet=quiet)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self.is_live = not quiet and sys.stderr.isatty()
        self._progress = Progress(*columns, console=self.console, disable=not self.is_live)
        self._task = self._progress.add_task(what, total=total, completed=done, numbers="")

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def done(self) -> int:
        return int(self._progress.tasks[0].completed)

    def advance(self, count: int = 1) -> None:
        """`count` more steps are complete."""
        self._progress.advance(self._task, count)

    def move_to(self, done: int) -> None:
        """`done` steps are complete."""
        self._progress.update(self._task, completed=done)

    def report(self, numbers: Mapping[str, float]) -> None:
        """Numbers beside the bar; without a terminal a line with the step and the time left."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self.is_live:
            self._progress.update(self._task, numbers=text)
            return
        left = (time.monotonic() - self.began) / max(1, self.done - self.start) * (self.total - self.done)
        clock = f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
        self.console.print(f"step {self.done}/{self.total}  left {clock}  {text}", highlight=False, soft_wrap=True)
