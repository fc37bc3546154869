"""The server under load, with the bundled model: `python -m benchmarks.server`.

- 10,000 requests, 64 at a time, against a queue of 16: each must be answered with 200, 429 or 503, and the memory in
  the second half of the run may differ by 5 % from the first half; again with 10 % of broken images, and with
  10 % of clients that leave
- evenly spaced arrivals at 80 % of the throughput: p99 of the accepted requests at most twice the service time, which
  is that of a request alone; the throughput is that of four requests at a time
- random (Poisson) arrivals at the same rate: p50 and p99; nobody waits longer than (queue + 1) service times

The load comes from another process of low priority, with a connection for each request. The memory is that of the
server and of its model's process. Exit code 1 where one of these does not hold. Each run with arrivals says where the
time went, and how long the server's processes waited for a core that another program had: only where this is a few
percent of what they ran do the bounds say something about the server.
`--requests` and `--seconds` make it smaller; the numbers that were used are part of the result.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .measure import called, write

ROOT = Path(__file__).parents[1]
AT_ONCE, QUEUE = 64, 16
FEW = 4  # requests at a time that keep the model busy and the queue from being full
SENTENCES = ("the person in green", "the yellow turtle", "the child in blue", "the smallest turtle")
BROKEN = b"\x89PNG\r\n\x1a\n broken"
FLAT = 0.05  # of the memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run with arrivals")
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    with server() as (port, process):
        os.nice(10)  # what asks does not take the cores of what answers
        load = Load(port)
        rows["service"] = service = asyncio.run(load.service_time())
        service["throughput"] = asyncio.run(load.throughput())
        for name, broken, leaving in (("10,000 good", 0.0, 0.0), ("10 % broken", 0.1, 0.0), ("10 % leave", 0.0, 0.1)):
            rows[name.replace("10,000", f"{arguments.requests:,}")] = asyncio.run(
                load.storm(arguments.requests, broken, leaving, process)
            )
        for name in ("even", "poisson"):
            run = load.arrivals(0.8 * service["throughput"], arguments.seconds, process, is_random=name == "poisson")
            rows[name] = asyncio.run(run)
    faults = faults_in(rows)
    result = {
        "command": called("benchmarks.server"),
        "at once": AT_ONCE,
        "queue": QUEUE,
        "rows": rows,
        "faults": faults,
    }
    write("server", result)
    print(json.dumps(result, indent=1))
    print("\n".join(table(rows)))
    return 1 if faults else 0


def table(rows: dict[str, Any]) -> Iterator[str]:
    """The table of `docs/server.md`."""
    service = rows["service"]["seconds"]
    yield f"A request alone takes {service:.3f} s; the throughput is {rows['service']['throughput']:.1f} a second."
    yield "| run | answered | lost | memory, second quarter to last | p50 | p99 of accepted | longest |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        if name == "service":
            continue
        answered = ", ".join(f"{count:,} with {status}" for status, count in sorted(row["statuses"].items()))
        if "memory MB" in row:
            memory = "{} to {} MB".format(*row["memory MB"])
            yield f"| {name} | {answered} | {row['lost']} | {memory} | | {row['p99 of accepted']:.1f} s | |"
        else:
            times = (row[each] for each in ("p50", "p99", "longest"))
            shown = " | ".join(f"{one:.2f} s, {one / service:.1f} service times" for one in times)
            yield f"| {name}, {row['rate']:.1f} a second | {answered} | {row['lost']} | | {shown} |"


def faults_in(rows: dict[str, Any]) -> list[str]:
    """What does not hold, in words."""
    service = rows["service"]["seconds"]
    faults = []
    for name, row in rows.items():
        if row.get("lost"):
            faults.append(f"{name}: {row['lost']} requests were not answered")
        if unexpected := set(row.get("statuses", {})) - {"200", "429", "503", "415", "left"}:
            faults.append(f"{name}: statuses {sorted(unexpected)}")
        if row.get("memory growth", 0.0) > FLAT:
            faults.append(f"{name}: memory grew by {row['memory growth']:.1%}")
    if rows["even"]["p99"] > 2 * service:
        faults.append(f"even: p99 is {rows['even']['p99'] / service:.1f} service times, {cores(rows['even'])}")
    if rows["poisson"]["longest"] > (QUEUE + 1) * service:
        longest = rows["poisson"]["longest"] / service
        faults.append(f"poisson: the longest took {longest:.1f} service times, {cores(rows['poisson'])}")
    return faults


def cores(row: dict[str, Any]) -> str:
    return "while the server's processes ran for {ran:.1f} s and waited {waited:.1f} s for a core".format(
        **row["cores"]
    )


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """`deixis serve` in a process of its own: its port and its process id."""
    command = [sys.executable, "-m", "deixis.cli", "serve", "--port", "0", "--device", "cpu", "--queue", str(QUEUE)]
    with open(os.devnull, "w") as log:
        process = subprocess.Popen([*command, "--log", log.name], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            yield int(process.stderr.readline().rstrip("/\n").rpartition(":")[2]), process.pid
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Answer:
    """A status, `left` or `lost`; the seconds that it took, and those in the queue and in the model."""

    status: str
    taken: float
    spent: dict[str, float] = field(default_factory=dict)


class Load:
    """Requests about the example picture."""

    def __init__(self, port: int) -> None:
        self.port, self.picture = port, (ROOT / "examples" / "toyland.png").read_bytes()
        self.draw = random.Random(0)

    def body(self, number: int, broken: float = 0.0) -> bytes:
        image = BROKEN if self.draw.random() < broken else self.picture
        parts = [("sentence", SENTENCES[number % len(SENTENCES)].encode()), ('image"; filename="a', image)]
        head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
        return b"".join(head % name.encode() + content + b"\r\n" for name, content in parts) + b"--x--\r\n"

    async def service_time(self) -> dict[str, Any]:
        """Median of requests one after another, after the model is loaded."""
        while (await self._ask(b"", path="/health/ready", method="GET")).status != "200":
            await asyncio.sleep(0.2)
        times = [(await self._ask(self.body(number))).taken for number in range(60)][10:]
        return {"seconds": float(np.median(times)), "p99": float(np.quantile(times, 0.99))}

    async def throughput(self, requests: int = 200) -> float:
        """Answers a second where the model never waits for a request, and none is refused."""
        numbers = iter(range(requests))

        async def one_after_another() -> None:
            for number in numbers:
                assert (await self._ask(self.body(number))).status == "200"

        began = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(FEW)))
        return requests / (time.perf_counter() - began)

    async def storm(self, requests: int, broken: float, leaving: float, process: int) -> dict[str, Any]:
        """All requests, 64 at a time; memory is read a hundred times on the way."""
        statuses: Counter[str] = Counter()
        accepted: list[float] = []
        memory: list[int] = []
        numbers = iter(range(requests))

        async def one_after_another() -> None:
            for number in numbers:
                answer = await self._ask(self.body(number, broken), leaves=self.draw.random() < leaving)
                statuses[answer.status] += 1
                if answer.status == "200":
                    accepted.append(answer.taken)
                if number % max(1, requests // 100) == 0:
                    memory.append(resident(process))

        began = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
        middle = memory[len(memory) // 4 : len(memory) // 2], memory[3 * len(memory) // 4 :]
        before, after = (float(np.median(part)) for part in middle)
        return {
            "seconds": time.perf_counter() - began,
            "statuses": dict(statuses),
            "lost": statuses["lost"] + requests - sum(statuses.values()),
            "p99 of accepted": float(np.quantile(accepted, 0.99)),
            "memory MB": [round(before / 1e6), round(after / 1e6)],
            "memory growth": after / before - 1,
        }

    async def arrivals(self, rate: float, seconds: float, process: int, *, is_random: bool) -> dict[str, Any]:
        """Requests that do not wait for each other, `rate` a second."""
        began, due, late = time.perf_counter(), 0.0, 0.0
        asked: list[asyncio.Task[Answer]] = []
        before = scheduled(process)
        while due < seconds:
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            late = max(late, time.perf_counter() - began - due)
            asked.append(asyncio.create_task(self._ask(self.body(len(asked)))))
            due += self.draw.expovariate(rate) if is_random else 1 / rate
        answers = await asyncio.gather(*asked)
        accepted = [answer for answer in answers if answer.status == "200"]
        taken = [answer.taken for answer in accepted]
        parts = {name: [answer.spent[name] for answer in accepted] for name in ("queue", "model")}
        parts["elsewhere"] = [answer.taken - sum(answer.spent.values()) for answer in accepted]
        ran, waited = (after - first for after, first in zip(scheduled(process), before, strict=True))
        return {
            "rate": rate,
            "statuses": dict(Counter(answer.status for answer in answers)),
            "lost": sum(answer.status == "lost" for answer in answers),
            "p50": float(np.median(taken)),
            "p99": float(np.quantile(taken, 0.99)),
            "longest": max(taken),
            "p50 and p99 of": {name: list(np.quantile(part, (0.5, 0.99))) for name, part in parts.items()},
            "sent late, longest": late,
            "cores": {"ran": ran, "waited": waited},
        }

    async def _ask(
        self, body: bytes, *, path: str = "/v1/segment", method: str = "POST", leaves: bool = False
    ) -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(head.encode() + body)
                if leaves:
                    await asyncio.sleep(0.01)
                    return Answer("left", time.perf_counter() - began)
                answer = await reader.read()
            finally:
                writer.close()
        except OSError:
            return Answer("lost", time.perf_counter() - began)
        taken = time.perf_counter() - began
        if not answer:
            return Answer("lost", taken)
        status, content = answer.split(b" ", 2)[1].decode(), answer.partition(b"\r\n\r\n")[2]
        return Answer(status, taken, json.loads(content)["seconds"] if status == "200" and body else {})


def family(process: int) -> list[int]:
    """The process and all that it has started."""
    children = Path(f"/proc/{process}/task").glob("*/children")
    return [process, *(one for file in children for child in file.read_text().split() for one in family(int(child)))]


def scheduled(process: int) -> tuple[float, float]:
    """Seconds that the server's processes have run, and that they could have run but waited for a core."""
    files = (file for one in family(process) for file in Path(f"/proc/{one}/task").glob("*/schedstat"))
    ran, waited = zip(*((int(part) for part in file.read_text().split()[:2]) for file in files), strict=True)
    return sum(ran) / 1e9, sum(waited) / 1e9


def resident(process: int) -> int:
    """Bytes of memory that the process holds, and those of the model's process."""
    pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(process))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
