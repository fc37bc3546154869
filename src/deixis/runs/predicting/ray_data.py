"""The engine `ray`: Ray Data gives chunks of rows to actors on a cluster, which write the same Parquet files.

Ray schedules and restarts; an actor itself writes its rows, so that a file is whole or absent whatever ends the run.
All nodes must see the images and the output folder under the same paths.
"""

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .parquet import write_part
from .rows import Asking, Row, answer_rows


def predict_on_ray(
    rows: Sequence[Row],
    asking: Asking,
    out: Path,
    workers: int,
    chunk: int,
    advance: Callable[[int, int], None],
    *,
    address: str | None = None,
    gpus: float = 0.0,
) -> None:
    """Answer the rows on the cluster at `address`; without one on processes of this machine.

    `gpus` is what each actor takes of a GPU. `advance` is called with the rows and the errors of each chunk.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nothing but this machine can reach it
        ray.init(
            num_cpus=max(workers + 1, 2), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    else:
        ray.init(address=address, log_to_driver=False)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.actor_task_retry_on_errors = True
        data = ray.data.from_items([asdict(row) for row in rows], override_num_blocks=math.ceil(len(rows) / chunk))
        answered = data.map_batches(
            Answering,
            fn_constructor_args=(asking, str(out)),
            batch_format="pyarrow",
            batch_size=chunk,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=gpus,
        )
        batch: Any
        for batch in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
            advance(sum(batch["rows"].to_pylist()), sum(batch["errors"].to_pylist()))
    finally:
        ray.shutdown()


class Answering:
    """An actor: it loads the model once, then answers and writes one chunk after another."""

    def __init__(self, asking: Asking, out: str) -> None:
        import warnings

        warnings.filterwarnings("ignore")
        self.asking, self.out = asking, Path(out)
        self.segmenter = asking.segmenter()

    def __call__(self, chunk: Any) -> Any:
        rows = [Row(**row) for row in chunk.to_pylist()]
        records = answer_rows(self.segmenter, rows, self.asking)
        write_part(self.out, records)
        errors = sum(record["error"] is not None for record in records)
        return {"rows": np.array([len(rows)]), "errors": np.array([errors])}
