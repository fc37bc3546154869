"""The numbers of a run: a CSV table and TensorBoard's event files, both cut back on resuming, and the progress bar."""

import csv
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ..errors import ModelError
from ..files import replaced
from ..progress import ProgressBar
from .processes import processes, sum_over_processes

ADVICE = "the stored weights are of an earlier step: try a lower learning rate, a warm-up or `--optimiser.clip 1`."


class MetricLogger:
    """Collects losses, and writes their means and the scores of validation; only the main process writes.

    `metrics.csv` and TensorBoard lose the rows after step `start`, because a resumed run computes them again. A row
    with 1 in the column `resumed` marks each step that the run was resumed after.
    """

    def __init__(self, out: Path, start: int, total: int, *, quiet: bool) -> None:
        self.is_main = processes().is_main_process
        self.table = Table(out, start) if self.is_main else None
        if self.table is not None and start:
            self.table.write(start, {"resumed": 1.0})
        self.progress = ProgressBar("training", total, done=start, quiet=quiet or not self.is_main)
        self.pending: list[tuple[int, Mapping[str, Tensor]]] = []  # still on the device
        self.sums: dict[str, float] = {}
        self.count, self.since = 0, time.monotonic()

    def __enter__(self) -> "MetricLogger":
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        if self.table is not None:
            self.table.close()

    def add(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """The loss terms of a step; they are read from the device later."""
        self.pending.append((step, terms))
        self.progress.move_to(step)

    def read(self) -> None:
        """Read the pending losses. Raises `ModelError` at the first that is not finite."""
        for step, terms in self.pending:
            for name, term in terms.items():
                number = float(term)
                if not math.isfinite(number):
                    raise ModelError(f"The loss {name!r} became {number} in step {step}; {ADVICE}")
                self.sums[name] = self.sums.get(name, 0.0) + number
        self.count += len(self.pending)
        self.pending.clear()

    def write_losses(self, step: int, *, epoch: float, rate: float, batch_size: int) -> None:
        """The mean of each loss since the last call, over all processes, and the speed of training alone."""
        self.read()
        count = self.count * processes().num_processes
        means = {name: total / count for name, total in sum_over_processes(self.sums).items()}
        now = time.monotonic()
        numbers = {"loss": sum(means.values())} | {f"loss/{name}": mean for name, mean in means.items()}
        numbers |= {
            "epoch": epoch,
            "rate": rate,
            "expressions_per_second": self.count * batch_size / max(now - self.since, 1e-9),
        }
        self.sums, self.count, self.since = {}, 0, now
        self._write(step, numbers)

    def write_scores(self, step: int, scores: Mapping[str, float]) -> None:
        self._write(step, {f"val/{name}": value for name, value in scores.items()})
        self.since = time.monotonic()  # the time of validation does not count

    def write_picture(self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        if self.table is not None:
            self.table.show(step, name, picture)

    def note(self, sentence: str) -> None:
        """Print one line beside the progress bar."""
        if self.is_main:
            self.progress.console.print(sentence, highlight=False, soft_wrap=True)

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        if self.table is not None:
            self.table.write(step, numbers)
        self.progress.report(numbers)


class Table:
    """Rows of numbers by step in `metrics.csv` and TensorBoard; those after `step` are removed on opening."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a heavy import, of the extra [train]

        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.csv"
        self.columns: list[str] = ["step"]
        rows = [row for row in self._read() if int(row["step"]) <= step]
        self._replace(rows)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        new = [name for name in numbers if name not in self.columns]
        if new:
            rows = self._read()
            self.columns += new
            self._replace(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            row = {"step": step, **{name: f"{value:.6g}" for name, value in numbers.items()}}
            csv.DictWriter(file, self.columns).writerow(row)
        for name, value in numbers.items():
            self.board.add_scalar(name, value, step)

    def show(self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """A picture in TensorBoard."""
        self.board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self.board.close()

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            self.columns = list(reader.fieldnames or ["step"])
            # A line that a kill cut short has no value in its last column, or no step.
            return [row for row in reader if row["step"] and None not in row.values()]

    def _replace(self, rows: list[dict[str, str]]) -> None:
        with replaced(self.path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
