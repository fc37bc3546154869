"""What a run writes down as it goes: a CSV table and TensorBoard's event files, cut back when a run resumes."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ..files import replaced


class Journal:
    """Rows of numbers by step; rows after `step` are forgotten on opening, for they will be lived again."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a heavy import, of the extra [train]

        self.path = folder / "journal.csv"
        self.columns: list[str] = ["step"]
        rows = [row for row in self._read() if int(row["step"]) <= step]
        self._write(rows)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        new = [name for name in numbers if name not in self.columns]
        if new:
            rows = self._read()
            self.columns += new
            self._write(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            row = {"step": step, **{name: f"{value:.6g}" for name, value in numbers.items()}}
            csv.DictWriter(file, self.columns).writerow(row)
        for name, value in numbers.items():
            self.board.add_scalar(name, value, step)

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            self.columns = list(reader.fieldnames or ["step"])
            # A line that a kill cut short has no value in its last column, or no step.
            return [row for row in reader if row["step"] and None not in row.values()]

    def _write(self, rows: list[dict[str, str]]) -> None:
        with replaced(self.path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
