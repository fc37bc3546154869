"""What grows how in `deixis predict`: `python -m benchmarks.predicting`.

The bundled model, as a checkpoint and as an ONNX export, on copies of the example photo with four expressions each; one
and two processes, few and many rows, and both engines. Each cell is one run of the command: CPU seconds of all its
processes, the sum of what they held in memory at most, and the bytes that were written.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .measure import called, result, write

EXPRESSIONS = ("the person in green", "the turtle", "the turtle on the left", "the smallest turtle")
PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, help="an export of the bundled model; by default it is made")
    parser.add_argument("--rows", nargs="+", type=int, default=[40, 200])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    arguments = parser.parse_args()
    before = (result("predicting") or {"rows": []})["rows"]
    rows = [row for row in before if row["engine"] not in arguments.engines]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        export = arguments.export or place / "export"
        if arguments.export is None:
            subprocess.run([sys.executable, "-m", "deixis.cli", "export", "bundled", str(export)], check=True)
        for engine in arguments.engines:
            for model in ("bundled", str(export)) if engine == "local" else (str(export),):
                for workers in arguments.workers:
                    for count in arguments.rows:
                        made = cell(place, engine, model, workers, count)
                        rows.append({"model": "checkpoint" if model == "bundled" else "onnx", **made})
                        print(json.dumps(rows[-1]), flush=True)
                        write("predicting", {"command": called("benchmarks.predicting"), "rows": rows})


def cell(place: Path, engine: str, model: str, workers: int, count: int) -> dict[str, Any]:
    """One run of the command."""
    data, out = place / f"rows-{count}.jsonl", place / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copy("examples/toyland.png", place / "photo.png")
    for number in range(0, count, len(EXPRESSIONS)):
        if not (photo := place / f"{number}.png").exists():
            photo.symlink_to(place / "photo.png")
    images = [number - number % len(EXPRESSIONS) for number in range(count)]
    lines = [
        {"image": f"{image}.png", "expression": EXPRESSIONS[number % len(EXPRESSIONS)]}
        for number, image in enumerate(images)
    ]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "deixis.cli", "predict", str(data), "--out", str(out), "--model", model]
    command += ["--engine", engine, "--workers", str(workers), "--chunk", "8", "--device", "cpu"]
    load, started = os.getloadavg(), time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    cpu, most, processes = watch(run)
    assert run.returncode == 0, run.stderr.read().decode() if run.stderr else ""
    written = sum(file.stat().st_size for file in out.glob("*.parquet"))
    return {
        "engine": engine,
        "workers": workers,
        "rows": count,
        "cpu_seconds": cpu,
        "wall_seconds": time.perf_counter() - started,
        "load": load,
        "peak_rss_mb": most,
        "processes": processes,
        "bytes_a_row": written / count,
    }


def watch(run: "subprocess.Popen[bytes]") -> tuple[float, float, int]:
    """CPU seconds of the process and all below it, the most memory they held together, and their largest number."""
    clock = os.sysconf("SC_CLK_TCK")
    cpu: dict[int, float] = {}
    most, processes = 0.0, 0
    while run.poll() is None:
        resident = 0
        below = family(run.pid)
        for pid in below:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            except (OSError, ProcessLookupError):
                continue
            cpu[pid] = (int(fields[11]) + int(fields[12])) / clock
        most, processes = max(most, resident / 2**20), max(processes, len(below))
        time.sleep(0.1)
    return sum(cpu.values()), most, processes


def family(pid: int) -> list[int]:
    """The process and all of its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in family(int(child)))]


if __name__ == "__main__":
    main()
