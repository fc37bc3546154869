"""Runtimes of a model against one another, interleaved in one run: `python -m benchmarks.runtimes`.

PyTorch eager and compiled, ONNX Runtime, OpenVINO in float32 and in bfloat16, one image and one expression at a time.
Each runtime is a process of its own that loads the model and then answers when it is asked; the processes take turns,
so that a load of the machine that changes meets all of them. Times are CPU seconds of the process, and wall seconds
beside them; on a shared machine only the ratios of one run can be compared. `first` is from the start of the process to
its first answer. `bundled` is also scored on 100 Toyland scenes; full-size networks have random weights, so only their
masks are compared, with those of PyTorch eager.

    python -m benchmarks.runtimes                                   # the bundled model
    python -m benchmarks.runtimes --models lavt magnet vega --without compiled --repeats 5
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .measure import called, machine, peak_megabytes, result, write

RUNTIMES = ("eager", "compiled", "onnx", "openvino", "openvino-bf16")
SCENES = 100
FULL_SIZE = ("lavt", "magnet", "vega")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["bundled"])
    parser.add_argument("--without", nargs="*", default=[], choices=RUNTIMES)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--answer", nargs=3, metavar=("RUNTIME", "CHECKPOINT", "EXPORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(*arguments.answer)
        return
    rows = {row["model"]: row for row in (result("runtimes") or {"rows": []})["rows"]}
    for model in arguments.models:
        chosen = [name for name in RUNTIMES if name not in arguments.without]
        before = os.getloadavg()
        row = compare(model, chosen, arguments.repeats, arguments.scenes if model == "bundled" else 0)
        loads = {"load_before": before, "load_after": os.getloadavg()}
        rows[model] = {"model": model, "machine": machine(), "command": called("benchmarks.runtimes"), **loads, **row}
        write("runtimes", {"rows": list(rows.values())})
        print(json.dumps(rows[model], indent=1), flush=True)


def compare(model: str, runtimes: list[str], repeats: int, scenes: int) -> dict[str, Any]:
    """One row of the result: what each runtime takes, and how its masks agree with PyTorch's."""
    with TemporaryDirectory() as place:
        checkpoint, export = Path(place) / "checkpoint", Path(place) / "export"
        export_seconds = _write(model, checkpoint, export)
        workers = {name: Worker(name, str(checkpoint), str(export)) for name in runtimes}
        first = {name: worker.ready() for name, worker in workers.items()}
        times: dict[str, list[dict[str, float]]] = {name: [] for name in runtimes}
        for _ in range(repeats):
            for name, worker in workers.items():
                times[name].append(worker.ask({"what": "time"}))
        question = {"what": "score", "scenes": scenes}
        scores = {name: worker.ask(question) for name, worker in workers.items()} if scenes else {}
        ends = {name: worker.close() for name, worker in workers.items()}
    cells = {}
    for name in runtimes:
        cpu = sorted(each["cpu"] for each in times[name])
        cells[name] = {
            "cpu_seconds": {"median": statistics.median(cpu), "min": cpu[0], "max": cpu[-1], "runs": len(cpu)},
            "wall_seconds": {"median": statistics.median(each["wall"] for each in times[name])},
            "to_eager": statistics.median(cpu) / statistics.median(each["cpu"] for each in times["eager"]),
            "first": first[name],
            "peak_rss_mb": ends[name]["peak_rss_mb"],
            "equal_pixels": agreement(ends[name]["mask"], ends["eager"]["mask"]),
            **({"mIoU": scores[name]} if scenes else {}),
        }
    return {"export_cpu_seconds": export_seconds, "runtimes": cells}


def agreement(mask: str, expected: str) -> float:
    """The fraction of equal pixels of two masks as texts of 0 and 1."""
    one, right = (np.frombuffer(each.encode(), np.uint8) for each in (mask, expected))
    return float((one == right).mean())


class Worker:
    """A process that runs one runtime, and does one thing after another when it is told to."""

    def __init__(self, name: str, checkpoint: str, export: str) -> None:
        command = [sys.executable, "-m", "benchmarks.runtimes", "--answer", name, checkpoint, export]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> dict[str, float]:
        return self._read()

    def ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> dict[str, Any]:
        found = self.ask({"what": "end"})
        self.process.wait()
        return found

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a runtime ended with exit code {self.process.wait()}")
        return json.loads(line)


def answer(name: str, checkpoint: str, export: str) -> None:
    """The other side of a Worker: one JSON line for each question."""
    import deixis

    born = time.time()
    runtime, _, narrow = name.partition("-")
    if runtime in ("eager", "compiled"):
        model = deixis.load(checkpoint, device="cpu", compiled=runtime == "compiled")
    else:
        model = deixis.load(export, runtime=runtime, dtype="bfloat16" if narrow else "float32")
    photo = "examples/toyland.png"

    def once() -> Any:
        return model(photo, "the person in green")

    once()
    print(json.dumps({"cpu": time.process_time(), "wall": time.time() - born}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if question["what"] == "end":
            mask = "".join("01"[pixel] for pixel in once().mask.ravel().astype(int))
            print(json.dumps({"peak_rss_mb": peak_megabytes(), "mask": mask}), flush=True)
            return
        if question["what"] == "score":
            from deixis.toyland.world import Toyland

            scores = deixis.evaluate(model, Toyland(split="val", num_scenes=question["scenes"]), draws=100)
            print(json.dumps(scores.measures["mIoU"].value), flush=True)
            continue
        cpu, wall = time.process_time(), time.perf_counter()
        once()
        print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}), flush=True)


def _write(model: str, checkpoint: Path, export: Path) -> float:
    """Write the checkpoint, of random weights for a full-size network, and its export; CPU seconds of the export."""
    program = f"from benchmarks.runtimes import make; make({model!r}, {str(checkpoint)!r}, {str(export)!r})"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def make(model: str, checkpoint: str, export: str) -> None:
    """In a process of its own, whose memory is then free: the files, and the CPU seconds that exporting took."""
    import shutil

    import torch

    import deixis
    from deixis.checkpoints import native
    from deixis.checkpoints.configs import to_dict
    from deixis.export.writing import export_model
    from deixis.zoo.bundled import BUNDLED_MODELS

    if model == "bundled":
        shutil.copytree(BUNDLED_MODELS["bundled"].folder, checkpoint)
    else:
        from .models import full_size

        torch.manual_seed(0)
        system = full_size(model)
        source = native.read(BUNDLED_MODELS["bundled"].folder)
        card = native.Card(system=model, config=to_dict(system.config))
        native.save(Path(checkpoint), system.state_dict(), card, source.vocabulary)
        del system
    started = time.process_time()
    export_model(deixis.load(checkpoint, device="cpu"), Path(export), "onnx")
    print(time.process_time() - started)


if __name__ == "__main__":
    main()
