"""The listening process: slow connections, wrong lengths, clients that leave, SIGTERM, and `deixis serve`."""

import gc
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from deixis.cli import main
from deixis.server import running
from deixis.server.app import build
from deixis.server.guard import Access
from deixis.server.running import Protocol, Server, listen
from tests.server.stub import Served, photo, serve

ROOT = Path(__file__).parents[2]
HEAD = (
    "POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    "Content-Length: {}\r\n\r\n"
)


@pytest.fixture
def running_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Served, int, Server]]:
    """A real server with short limits, its port, and what ends it."""
    monkeypatch.setattr(running, "HEAD_SECONDS", 0.2)
    served = serve(seconds_to_send=0.2, queue=4)
    listening = listen("127.0.0.1", 0)
    app = build(served.service, Access())
    server = Server(uvicorn.Config(app, http=Protocol, log_level="error", timeout_graceful_shutdown=2), served.service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield served, listening.getsockname()[1], server
    server.should_exit = True
    thread.join(5.0)
    assert not thread.is_alive()


def connections() -> int:
    """How many connections are in memory."""
    gc.collect()
    return sum(type(each) is Protocol for each in gc.get_objects())


def send(port: int, *pieces: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def status(connection: socket.socket) -> int:
    """The status of the answer; 0 where the connection was closed without one."""
    with connection:
        try:
            start = connection.recv(4096)
        except ConnectionResetError:
            return 0
        return int(start.split()[1]) if start else 0


def form(sentence: bytes, image: bytes) -> bytes:
    parts = ((b"sentence", sentence), (b'image"; filename="a', image))
    head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
    return b"".join(head % name + content + b"\r\n" for name, content in parts) + b"--x--\r\n"


def request(sentence: bytes = b"red") -> bytes:
    body = form(sentence, photo())
    return HEAD.format(len(body)).encode() + body


def is_answered(port: int) -> bool:
    return status(send(port, request())) == 200


def test_a_body_that_is_sent_too_slowly_is_408(running_server: Any) -> None:
    served, port, _ = running_server
    assert status(send(port, HEAD.format(1000).encode() + b"--x")) == 408
    assert served.service.bodies.held == 0
    assert is_answered(port)


def test_a_head_that_does_not_end_closes_the_connection(running_server: Any) -> None:
    _, port, _ = running_server
    began = time.monotonic()
    assert status(send(port, b"GET / HTTP/1.1\r\nHost: loc")) == 0
    assert time.monotonic() - began < 3
    assert is_answered(port)


def test_a_thousand_half_open_connections_keep_nobody_out(running_server: Any) -> None:
    running._allow_many_connections()
    _, port, _ = running_server
    idle = [send(port, b"GET") for _ in range(1000)]
    assert is_answered(port)
    assert all(status(connection) == 0 for connection in idle)


def test_nothing_of_a_connection_is_kept_after_it_has_closed(running_server: Any) -> None:
    _, port, _ = running_server
    before = connections()
    for _ in range(20):
        assert is_answered(port)
        send(port, b"GET").close()
    end = time.monotonic() + 2
    while connections() > before and time.monotonic() < end:
        time.sleep(0.02)
    assert connections() <= before


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n", 400),
        (HEAD.format(10**15).encode(), 413),
        (HEAD.format("9" * 20).encode(), 413),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_wrong_lengths_and_broken_heads_are_refused(running_server: Any, head: bytes, expected: int) -> None:
    _, port, _ = running_server
    assert status(send(port, head)) == expected
    assert is_answered(port)


def test_a_refusal_reaches_a_client_that_is_still_sending(running_server: Any) -> None:
    _, port, _ = running_server
    head = HEAD.format(5_000_000).replace("localhost", "evil.example").encode()
    assert status(send(port, head, b"x" * 5_000_000)) == 403


def test_a_body_that_is_shorter_than_declared_is_no_answer_and_no_fault(running_server: Any) -> None:
    served, port, _ = running_server
    connection = send(port, HEAD.format(1000).encode() + b"--x")
    connection.close()
    assert is_answered(port)
    assert not [line for line in served.log if "traceback" in line]


def test_jobs_of_clients_that_have_gone_are_dropped(running_server: Any) -> None:
    served, port, _ = running_server
    first = send(port, request(b"slow first"))
    time.sleep(0.02)
    for _ in range(3):
        send(port, request(b"slow gone")).close()
    assert status(first) == 200
    assert is_answered(port)
    assert served.model.asked.count("slow gone") == 0


def test_stopping_answers_what_runs_and_refuses_what_waits(running_server: Any) -> None:
    _, port, server = running_server
    first = send(port, request(b"slow slow"))
    time.sleep(0.02)
    second = send(port, request(b"red"))
    time.sleep(0.01)
    server.service.worker.stop()
    assert (status(first), status(second)) == (200, 503)
    server.should_exit = True


@pytest.fixture(scope="module")
def served_command() -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`deixis serve` with the bundled model, and its port."""
    command = [sys.executable, "-m", "deixis.cli", "serve", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert process.stderr is not None
    port = int(process.stderr.readline().rstrip("/\n").rpartition(":")[2])
    reader = threading.Thread(target=process.stderr.read)
    reader.start()
    yield process, port
    process.kill()
    process.wait()
    reader.join()
    process.stderr.close()


def test_the_bundled_model_answers_over_http_and_sigterm_ends_it_with_0(served_command: Any) -> None:
    process, port = served_command
    end = time.monotonic() + 60
    while ask(port, "GET", "/health/ready")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    body = form(b"the person in green", (ROOT / "examples" / "toyland.png").read_bytes())
    code, answer = ask(port, "POST", "/v1/segment", body, {"Content-Type": "multipart/form-data; boundary=x"})
    assert code == 200
    found = answer["answers"][0]
    assert (found["found"], answer["image"]) == (True, {"height": 384, "width": 384})
    assert found["score"] > 0.8
    assert found["notes"] == []
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--port", "70000"], "expected a number from 0 to 65535"),
        (["--queue", "0"], "expected 1 or more"),
        (["--threshold", "2"], "expected a number between 0 and 1"),
        (["--megapixels", "-1"], "megapixels is -1.0; expected a positive number"),
        (["--host", "192.0.2.1", "--token-file", "token"], "cannot be used"),
        (["--token-file", "short"], "expected 16 or more"),
        (["--label-studio-url", "ftp://x"], "begins with http"),
        (["--label-studio-files", "/"], "other than /"),
        (["--model", "nothing-like-that", "--port", "0"], "There is no model"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_two(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEIXIS_TOKEN", raising=False)
    Path("token").write_text("0123456789abcdef")
    Path("short").write_text("abc")
    assert main(["serve", *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("deixis: ")
    assert part in last


def test_other_commands_do_not_import_the_server() -> None:
    program = (
        "import sys, deixis, deixis.cli, deixis.cli.segment\n"
        "print([name for name in ('fastapi', 'uvicorn', 'starlette') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )
