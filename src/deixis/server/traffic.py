"""What the server records of its requests: a line of JSON for each, and counters for Prometheus."""

import json
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Log = Callable[[str], object]  # appends a line
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Traffic:
    """Nothing that a caller wrote becomes a label; in the log it is escaped by JSON."""

    def __init__(self, waiting: Callable[[], float], cached: Callable[[], float], log: Log) -> None:
        self.log, self.registry = log, CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("deixis_requests", "Requests by status.", ("status",), **options)
        self.sentences = Counter("deixis_sentences", "Sentences that were answered.", **options)
        self.lost_lines = Counter("deixis_lost_log_lines", "Log lines that could not be written.", **options)
        self.queue = Histogram("deixis_queue_seconds", "Time in the queue.", buckets=BUCKETS, **options)
        self.model = Histogram("deixis_model_seconds", "Time in the model.", buckets=BUCKETS, **options)
        Gauge("deixis_queue_length", "Requests that wait.", **options).set_function(waiting)
        Gauge("deixis_cached_images_bytes", "Encoded images that are kept.", **options).set_function(cached)

    def answered(self, seconds: dict[str, float], sentences: int) -> None:
        self.queue.observe(seconds["queue"])
        self.model.observe(seconds["model"])
        self.sentences.inc(sentences)

    def write(self, **facts: Any) -> None:
        """One line of JSON. A log that cannot be written, on a full disk for example, fails no request."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts}
        try:
            self.log(json.dumps(line))
        except (OSError, ValueError):
            self.lost_lines.inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
