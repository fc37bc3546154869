"""A real Label Studio from PyPI, in a virtual environment of its own, asks `deixis serve` for predictions."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deixis.server.label_studio.brush import decode
from tests.server.test_label_studio import BRUSH

ROOT = Path(__file__).parents[2]
VERSION = "1.23.2"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
SENTENCE = "the person in green"
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Studio:
    """Calls of its HTTP API with the legacy token, which the start permits."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            pytest.fail(f"{method} {path}: {error.code} {error.read()[:500]!r}")


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        assert process.poll() is None, "the process has ended"
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(1)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([folder / "venv/bin/pip", "install", "--quiet", f"label-studio=={VERSION}"], check=True)
    port = free_port()
    environment = os.environ | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
    }
    user = ["--username", "a@example.org", "--password", secrets.token_hex(8), "--user-token", TOKEN]
    command = [folder / "venv/bin/label-studio", "start", "--no-browser", "--port", str(port), *user]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, 300)
            yield Studio(port)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def back_end(studio: Studio) -> Iterator[str]:
    port = free_port()
    environment = os.environ | {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": TOKEN}
    command = [sys.executable, "-m", "deixis.cli", "serve", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready", process, 120)
        yield f"http://127.0.0.1:{port}/label-studio"
    finally:
        process.terminate()
        process.wait(30)


def test_an_uploaded_image_gets_a_brush_in_batches_and_interactively(studio: Studio, back_end: str) -> None:
    project = studio.call("POST", "/api/projects", {"title": "cups", "label_config": BRUSH})["id"]
    picture = (ROOT / "examples" / "toyland.png").read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    form = head + picture + b"\r\n--x--\r\n"
    studio.call("POST", f"/api/projects/{project}/import", form, "multipart/form-data; boundary=x")
    listed = studio.call("GET", f"/api/tasks?project={project}&fields=all")
    task = (listed["tasks"] if isinstance(listed, dict) else listed)[0]
    studio.call("PATCH", f"/api/tasks/{task['id']}", {"data": {**task["data"], "text": SENTENCE}})
    model = studio.call("POST", "/api/ml", {"url": back_end, "project": project, "is_interactive": True})["id"]

    chosen = {"selectedItems": {"all": True, "excluded": []}, "project": project}
    studio.call("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", chosen)
    predictions = studio.call("GET", f"/api/predictions?task={task['id']}")
    region = predictions[0]["result"][0]
    assert region["type"] == "brushlabels"
    assert decode(region["value"]["rle"], 384, 384).sum() > 1000
    assert predictions[0]["score"] > 0.8

    typed = {"value": {"text": [SENTENCE]}, "id": "a", "from_name": "prompt", "to_name": "image", "type": "textarea"}
    asked = {"task": task["id"], "context": {"result": [typed]}}
    found = studio.call("POST", f"/api/ml/{model}/interactive-annotating", asked)
    assert found["data"]["result"][0]["value"]["rle"] == region["value"]["rle"]
