"""Progress on stderr: a live bar on a terminal; in a log file nothing, or plain lines where numbers are reported."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

BAR_WIDTH = 16


class ProgressBar:
    """A context in which `advance` moves the bar; stdout stays free for results.

    `done` of `total` steps are complete at the start. With `quiet` nothing is shown.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        self.total, self.start, self.began = total, done, time.monotonic()
        self.console = Console(stderr=True, quiet=quiet)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("left"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True)),
        )
        # What the columns before the numbers take, with one space after each and "-:--:--" for the time.
        self._taken = len(what) + BAR_WIDTH + 2 * len(str(total)) + len("/left-:--:--") + len(columns) - 1
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
        """Numbers beside the bar; without a terminal a line with the step and the time left.

        The first is always shown, the others as far as the terminal, or 80 columns of a log, have room.
        """
        if self.is_live:
            self._progress.update(self._task, numbers=fitting(numbers, self.console.width - self._taken))
            return
        left = (time.monotonic() - self.began) / max(1, self.done - self.start) * (self.total - self.done)
        clock = f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
        start = f"step {self.done}/{self.total}  left {clock}  "
        text = fitting(numbers, self.console.width - len(start))
        self.console.print(start + text, highlight=False, soft_wrap=True)


def fitting(numbers: Mapping[str, float], room: int) -> str:
    """The first number, and as many of the next as `room` characters hold."""
    text = ""
    for name, value in numbers.items():
        longer = f"{text}  {name} {value:.4g}".strip()
        if text and len(longer) > room:
            break
        text = longer
    return text
