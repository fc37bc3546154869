"""The steps of the Dockerfile in an empty folder: what it copies and runs, without building an image."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS_ROOT = {"useradd"}  # changes the machine


def steps() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line) if name.isupper()]


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name, rest in steps():
        if name == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignored


def test_it_starts_as_a_user_without_rights_on_the_servers_port() -> None:
    found = dict(steps())
    assert found["USER"] == "deixis"
    assert json.loads(found["CMD"])[:2] == ["venv/bin/deixis", "serve"]
    assert found["EXPOSE"] == "8000"


@pytest.mark.slow
def test_its_steps_make_a_server_that_answers(tmp_path: Path) -> None:
    clean = {"PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    clean |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    for name, rest in steps():
        if name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("*.egg-info"))
                else:
                    shutil.copy(ROOT / source, tmp_path)
        elif name == "RUN" and rest.split()[0] not in NEEDS_ROOT:
            subprocess.run(rest, shell=True, cwd=tmp_path, env=clean, check=True)
    command = json.loads(dict(steps())["CMD"])
    environment = clean | {"DEIXIS_TOKEN": "0123456789abcdef"}
    # Port 0 and this machine's own address: a test may not open a port to others.
    command[command.index("0.0.0.0")] = "127.0.0.1"
    process = subprocess.Popen(
        [*command, "--port", "0"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        address = re.search(r"http://\S+/", process.stderr.readline())
        assert address is not None
        wait_for(address[0] + "health/ready")
        request = urllib.request.Request(address[0] + "v1/models", headers={"Authorization": "Bearer 0123456789abcdef"})
        assert json.load(urllib.request.urlopen(request))["models"][0]["name"] == "bundled"
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stderr.close()


def wait_for(address: str) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address)
            return
        except urllib.error.HTTPError:
            assert time.monotonic() < end
            time.sleep(0.5)
