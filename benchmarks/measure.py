"""How the benchmarks measure: warm-ups, several runs, median with range, peak memory of a fresh process."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def seconds(run: Callable[[], object], *, repeats: int = 7, warm_ups: int = 2) -> dict[str, float]:
    """Median, least and most wall seconds of `run`."""
    for _ in range(warm_ups):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "runs": repeats}


def peak_megabytes() -> float:
    """Peak resident memory of this process, on Linux; its ru_maxrss would begin with its parent's."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024


def fresh(module: str, *arguments: str, limit: float = 900) -> dict[str, Any]:
    """The JSON that `python -m module arguments` prints, in a new process; after `limit` seconds it has failed."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {limit:g} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine() -> dict[str, Any]:
    """Processor, vector instructions, cores and versions: what a comparison must state."""
    import torch

    model, flags = platform.processor() or platform.machine(), ""
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        flags = next((line for line in lines if line.startswith("flags")), "")
    instructions = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags.split()]
    return {
        "processor": model,
        "instructions": instructions,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def called(module: str) -> str:
    """The command line of this process, with the number of threads if it was set."""
    threads = os.environ.get("OMP_NUM_THREADS")
    return " ".join([*([f"OMP_NUM_THREADS={threads}"] if threads else []), f"python -m {module}", *sys.argv[1:]])


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result to `benchmarks/results`, with the machine that measured it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    return path


def result(name: str) -> dict[str, Any] | None:
    """The existing result of that name, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
