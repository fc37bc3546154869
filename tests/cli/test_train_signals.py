"""Signals to the process group of `deixis train`: as schedulers, shells and closing terminals send them."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from deixis.cli import main
from deixis.training.state import STATE, State
from tests.processes import start

NUM_IMAGES = 8


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A long training of a tiny system, whose samples are read by two workers."""
    for split in ("train", "val"):
        lines = []
        for number in range(NUM_IMAGES):
            name = f"{split}-{number}.png"
            Image.new("RGB", (48, 48), (30 * number, 90, 60)).save(tmp_path / name)
            mask = [[8, 8, 30, 8, 30, 30, 8, 30]]
            lines.append(json.dumps({"image": name, "expression": "the block", "mask": mask}))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    fields = {
        "data.root": tmp_path,
        "preprocess.image-size": 32,
        "schedule.batch-size": 4,
        "schedule.steps": 100_000,
        "schedule.validate-every": 50_000,
        "schedule.log-every": 1,
        "system.text.layers": 1,
        "workers": 2,
    }
    options = [part for name, value in fields.items() for part in (f"--{name}", str(value))]
    return ["train", "vega-small", *options, "--out", str(tmp_path / "run")]


def main_of_a_group(arguments: list[str]) -> int:
    os.setsid()
    return main(arguments)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_to_the_whole_group_saves_and_stops_with_exit_code_three(
    command: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    process = start(main_of_a_group, command)
    table = tmp_path / "run/metrics.csv"
    end = time.monotonic() + 120
    while not (table.exists() and table.read_text().count("\n") > 2) and process.is_running:
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, number)
    code, complaint = process.wait()
    assert code == 3, complaint
    step = State.load(tmp_path / "run" / STATE).step
    assert step >= 2
    assert f"stopped and saved at step {step}; --resume resumes it" in complaint
    assert "Traceback" not in complaint
