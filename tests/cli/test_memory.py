"""A command keeps the memory that it frees, where the C library has the setting."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from deixis import cli
from deixis.cli import main, memory

HELD = """
import resource, sys
import numpy as np
from deixis.cli.memory import keep_freed
kept = keep_freed() if sys.argv[1] == "keep" else None
for _ in range(3):
    block = np.ones(64 << 20, np.uint8)
    del block
pages = int(open("/proc/self/statm").read().split()[1])
print(kept, pages * resource.getpagesize() >= 64 << 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such switch")
def test_freed_memory_stays_in_the_process_only_with_the_setting() -> None:
    kept, plain = (
        subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, check=True).stdout.split()
        for how in ("keep", "plain")
    )
    if kept[0] == "False":
        pytest.skip("this C library has no such switch")
    assert kept == ["True", "True"]
    assert plain == ["None", "False"]


def test_other_systems_and_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed()
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed()


def test_every_command_keeps_it_before_its_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    monkeypatch.setattr(memory, "keep_freed", lambda: order.append("kept"))
    verb = SimpleNamespace(main=lambda arguments: order.append(arguments[0]) or 0)
    monkeypatch.setattr(cli, "import_module", lambda *_: verb)
    assert main(["train", "vega-toyland"]) == 0
    assert main(["--version"]) == 0  # has nothing to keep
    assert order == ["kept", "vega-toyland"]
