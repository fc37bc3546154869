"""The tables of docs/speed.md, made from `results/*.json` and nothing else."""

import itertools
from collections.abc import Iterator
from typing import Any

from .measure import result as result_of

Row = tuple[str, str, str]


def table() -> str:
    """Markdown: the full-size networks, then everything else; cells without a measurement are empty."""
    rows = [*_startup(), *_visual_expression(), *_encode_once(), *_training(), *_toyland(), *_scoring()]
    lines = ["| what | measured | command |", "|---|---|---|"]
    lines += [f"| {what} | {measured} | `{command}` |" for what, measured, command in rows]
    return "\n".join([*_models(), "", *_runtimes(), "", *lines])


def _models() -> Iterator[str]:
    """One row per system and number of sentences; columns: dtype, eager and compiled."""
    if not (result := result_of("models")):
        return
    columns = list(itertools.product(("fp32", "bf16"), ("eager", "compiled")))
    yield f"| Swin-B, 480x480, sentences | {' | '.join(' '.join(column) for column in columns)} |"
    yield "|---" * (1 + len(columns)) + "|"
    cells = {(row["system"], row["sentences"], row["dtype"], row["mode"]): _latency(row) for row in result["rows"]}
    for system, sentences in sorted({key[:2] for key in cells}):
        found = [cells.get((system, sentences, *column), "") for column in columns]
        yield f"| {system}, {sentences} | {' | '.join(found)} |"


def _runtimes() -> Iterator[str]:
    """One row per model and runtime, as fractions of PyTorch eager in the same run."""
    if not (result := result_of("runtimes")):
        return
    yield "| model | runtime | CPU seconds | to eager | first answer, CPU seconds | memory | equal pixels | mIoU |"
    yield "|---" * 8 + "|"
    for row in result["rows"]:
        for name, cell in row["runtimes"].items():
            cpu, score = cell["cpu_seconds"], cell.get("mIoU")
            numbers = (
                f"{cpu['median']:.3f} ({cpu['min']:.3f}-{cpu['max']:.3f})",
                f"{cell['to_eager']:.2f}",
                f"{cell['first']['cpu']:.1f}",
                f"{cell['peak_rss_mb']:.0f} MB",
                f"{cell['equal_pixels']:.3%}",
                "" if score is None else f"{score:.2f}",
            )
            yield f"| {row['model']} | {name} | {' | '.join(numbers)} |"


def predicting() -> Iterator[str]:
    """The table of docs/cluster.md: one row per engine, model, processes and rows."""
    if not (result := result_of("predicting")):
        return
    yield "| engine | model | workers | rows | CPU seconds | memory of all processes | processes | bytes a row |"
    yield "|---" * 8 + "|"
    for row in result["rows"]:
        yield (
            f"| {row['engine']} | {row['model']} | {row['workers']} | {row['rows']} | {row['cpu_seconds']:.1f} | "
            f"{row['peak_rss_mb']:,.0f} MB | {row['processes']} | {row['bytes_a_row']:,.0f} |"
        )


def _latency(row: dict[str, Any]) -> str:
    return row["failed"] if "failed" in row else f"{_spread(row['seconds'])}, {row['peak_rss_mb']:.0f} MB"


def _spread(taken: dict[str, float]) -> str:
    return f"{taken['median']:.2f} s ({taken['min']:.2f}-{taken['max']:.2f})"


def _startup() -> Iterator[Row]:
    if result := result_of("startup"):
        for what, taken in result["rows"].items():
            yield f"`{what}`", _spread(taken), result["command"]


def _visual_expression() -> Iterator[Row]:
    if not (result := result_of("visual_expression")):
        return
    for row in result["rows"]:
        if row["mode"] != "forward+backward" or "failed" in row:
            continue
        ours, literal = row["cpu_seconds"]["ours"]["median"], row["cpu_seconds"]["literal"]["median"]
        memory = row.get("extra_megabytes") or row.get("megabytes")
        less = f", {memory['literal'] / memory['ours']:.1f}x less memory" if memory else ""
        what = f"VIS against its pseudocode, forward and backward, {row['pixels']} pixels"
        yield what, f"{literal / ours:.1f}x faster{less}", result["command"]


def _encode_once() -> Iterator[Row]:
    if not (result := result_of("encode_once")):
        return
    for row in result["rows"]:
        times = row["seconds"]
        for count, ratio in row["anew_of_once"].items():
            once, anew = (times[f"{how} {count}"]["median"] for how in ("once", "anew"))
            what = f"SaG, {result['side']} pixels, {row['dtype']}, {count} expressions about one image"
            yield what, f"{once:.2f} s, each anew {anew:.2f} s ({ratio:.1f}x)", result["command"]
        share = f"{row['further_of_first']:.3f} of the first"
        yield f"SaG, {row['dtype']}, a further expression, asked in eights", share, result["command"]


def _training() -> Iterator[Row]:
    if result := result_of("training"):
        for row in result["rows"]:
            what = f"`{row['recipe']}`, {row['side']} pixels, one thread"
            yield what, f"{row['steps_per_second']:.2f} steps/s of 16 sentences", result["command"]


def _toyland() -> Iterator[Row]:
    if result := result_of("toyland_speed"):
        for row in result["rows"]:
            if row["style"] == "painted" and row["size"] == 256:
                yield "Toyland scenes of 256x256 with masks, one core", _rate(row), result["command"]


def _rate(row: dict[str, float]) -> str:
    return f"{row['sampled and drawn per second']:.0f} a second"


def _scoring() -> Iterator[Row]:
    if result := result_of("scoring"):
        for row in result["rows"]:
            rate = row.get("masks_per_second") or row.get("masks per second")
            if rate:
                yield f"masks of 640x480 scored, {row['masks']} of them", f"{rate:.0f} a second", result["command"]
