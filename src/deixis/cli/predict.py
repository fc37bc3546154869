"""`deixis predict`: masks for many images, as Parquet files, on one machine or on a cluster."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..errors import InputError
from .model_options import ModelOptions
from .options import parse

if TYPE_CHECKING:
    from ..runs.predicting.rows import Asking, Row

EPILOGUE = """
DATA is a JSONL file with one object a line, {"image": path, "expression": text}, or a folder of images. Each image is
read relative to the file. OUT gets Parquet files, one row for each image and expression: id, image, expression,
present, score, box, size, rle, notes, error, model. A row that fails has an error and no mask. A run that was stopped
continues with the same command. docs/cluster.md shows a cluster.

  deixis predict rows.jsonl --out answers --workers 4
  deixis predict photos/ --text "the dog" --out answers --model exported
  deixis predict rows.jsonl --out /shared/answers --engine ray --address auto --workers 64 --gpus 1"""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ModelOptions):
    """Segment what expressions refer to in many images; write Parquet files."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """A JSONL file, or a folder of images."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the answers; one that holds some is continued."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "auto"
    """A model's name, or the folder of a checkpoint, an export or a run."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine; ray: a cluster."""
    workers: int = 1
    """Processes, each with a model of its own."""
    threads: int = 1
    """Threads of each process."""
    chunk: int = 64
    """Rows that are computed and written at a time."""
    text: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SENTENCE")] = ()
    """A sentence about every image; may be repeated."""
    texts: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A text file with one sentence a line, about every image."""
    recursive: bool = False
    """Enter the folders in folders."""
    threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """Replaces the threshold of the model's mask rule, which usually is a probability of 0.5."""
    presence_threshold: Annotated[float | None, tyro.conf.arg(metavar="P")] = None
    """The presence probability below which the mask is empty, for models with a presence head."""
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Of Ray's cluster: auto, or host:port; by default Ray starts on this machine."""
    gpus: float = 0.0
    """What each of Ray's processes takes of a GPU."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "chunk"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"--{name} is {value}; expected 1 or more.")
        for option, threshold in (("threshold", self.threshold), ("presence-threshold", self.presence_threshold)):
            if threshold is not None and not 0 < threshold < 1:
                raise InputError(f"--{option} is {threshold}; expected a number between 0 and 1.")
        if self.compiled or self.refine is not None or self.system is not None:
            raise InputError("predict takes neither --compiled nor --refine nor --system; omit them.")
        if self.engine == "local" and (self.address is not None or self.gpus):
            raise InputError("--address and --gpus are options of --engine ray; give it, or omit them.")


def main(arguments: list[str]) -> int:
    """Exit code 0 when every row has a mask, 1 when some have an error, 2 when all have; earlier answers count too."""
    options = parse(PredictOptions, arguments, "deixis predict", EPILOGUE)

    from ..runs.predicting.parquet import finished, open_folder
    from ..runs.predicting.rows import read_rows
    from .segment_inputs import read_texts

    expressions = [*options.text, *([] if options.texts is None else read_texts(options.texts))]
    manifest, asking = _described(options)
    rows = read_rows(options.data, expressions, manifest, recursive=options.recursive)
    open_folder(options.out, manifest)
    done = finished(options.out)
    missing, earlier = [row for row in rows if row.id not in done], [done[row.id] for row in rows if row.id in done]
    if earlier:
        print(f"deixis: {len(earlier):,} of {len(rows):,} rows are there already", file=sys.stderr)
    failed = sum(earlier) + _predict(options, missing, asking)
    print(f"{options.out}  {len(rows):,} rows, {failed:,} with an error")
    return 0 if not failed else 1 if failed < len(rows) else 2


def _described(options: PredictOptions) -> "tuple[dict[str, Any], Asking]":
    """The manifest, and how the model is loaded; a model that cannot be loaded is refused before any process starts."""
    from ..checkpoints.official.published import sha256_of
    from ..runs.predicting.rows import Asking

    segmenter = options.load(options.model, quiet=options.quiet)
    _ = segmenter.mask_rule(options.threshold)
    load = {
        "device": options.device,
        "dtype": options.dtype,
        "runtime": options.runtime,
        "settings": options.settings,
    }
    asking = Asking(
        model=options.model,
        load={name: value for name, value in load.items() if value},
        threshold=options.threshold,
        presence_threshold=options.presence_threshold,
        threads=options.threads,
    )
    manifest = {
        "format": 1,
        "model": segmenter.name,
        "version": None if segmenter.weights is None else sha256_of(segmenter.weights),
        "computed": segmenter.computed,
        "threshold": options.threshold,
        "presence threshold": options.presence_threshold,
    }
    return manifest, asking


def _predict(options: PredictOptions, rows: "Sequence[Row]", asking: "Asking") -> int:
    """The number of rows with an error."""
    from ..progress import ProgressBar
    from ..runs.predicting.rows import chunks

    failed = 0
    with ProgressBar("rows", len(rows), quiet=options.quiet) as bar:

        def advance(count: int, errors: int) -> None:
            nonlocal failed
            failed += errors
            bar.advance(count)

        if not rows:
            pass
        elif options.engine == "ray":
            from ..runs.predicting.ray_data import predict_on_ray

            predict_on_ray(
                rows,
                asking,
                options.out,
                options.workers,
                options.chunk,
                advance,
                address=options.address,
                gpus=options.gpus,
            )
        else:
            from ..runs.predicting.local import predict_locally

            predict_locally(chunks(rows, options.chunk), asking, options.out, options.workers, advance)
    return failed
