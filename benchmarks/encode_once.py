"""What many expressions about one image cost a full-size SaG: `python -m benchmarks.encode_once`.

ViT-S/16 at 384 pixels and BERT-base, random weights (the time does not depend on them), 12 tokens an expression. `once`
encodes the image once and asks it eight expressions at a time; `anew` runs the whole network for each expression. A
further expression is an eighth of eight that are asked together after the first; it may cost a sixth of the first.
The measurements take turns, so that a load of the machine that changes meets all of them (a hundred anew are measured
once, because they take minutes); each dtype has a process of its own. bf16 is weights and pixels in bfloat16, as
`deixis segment --dtype bfloat16` has them. Exit code 1 where a further expression costs more than a sixth.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .measure import called, fresh, peak_megabytes, write

if TYPE_CHECKING:
    from deixis.batch import Batch

DTYPES = ("fp32", "bf16")
COUNTS = (1, 10, 100)
SIDE, TOKENS, TOGETHER = 384, 12, 8
LIMIT = 1 / 6  # of the first expression, for a further one


def cell(dtype: str, repeats: int, counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """Seconds for each number of expressions, encoded once and anew, and the cost of a further expression."""
    import torch

    from deixis.cli.memory import keep_freed
    from deixis.models.sag import SaG

    keep_freed()
    torch.manual_seed(0)
    width = torch.bfloat16 if dtype == "bf16" else torch.float32
    system = SaG().eval().requires_grad_(False).to(width)
    image = torch.randn(1, 1, 3, SIDE, SIDE).to(width)
    token_ids = torch.randint(1000, 20_000, (max(*counts, TOGETHER), TOKENS))
    encoded = system.encode_images(image)
    eight = _batch(image, token_ids[:TOGETHER])

    def once(count: int) -> None:
        features = system.encode_images(image)
        for part in token_ids[:count].split(TOGETHER):
            system.decode_expressions(features, _batch(image, part))

    def anew(count: int) -> None:
        for part in token_ids[:count].split(1):
            system(_batch(image, part))

    runs: dict[str, Callable[[], object]] = {
        "eight more": lambda: system.decode_expressions(encoded, eight),
        **{f"once {count}": partial(once, count) for count in counts},
        **{f"anew {count}": partial(anew, count) for count in counts},
    }
    with torch.inference_mode():
        taken = in_turns(runs, repeats, at_most_once=("anew 100",))
    return {"dtype": dtype, "seconds": taken, **costs(taken, counts), "peak_rss_mb": peak_megabytes()}


def in_turns(
    runs: Mapping[str, Callable[[], object]], repeats: int, at_most_once: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Median, least and most wall seconds of each run, after one warm-up of the first three."""
    for name in list(runs)[:3]:
        runs[name]()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name in list(runs) * repeats:
        if times[name] and name in at_most_once:
            continue
        start = time.perf_counter()
        runs[name]()
        times[name].append(time.perf_counter() - start)
    return {
        name: {"median": statistics.median(each), "min": min(each), "max": max(each), "runs": len(each)}
        for name, each in times.items()
    }


def costs(taken: Mapping[str, Mapping[str, float]], counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """A further expression's seconds, as a fraction of the first one's, and whether that is within the limit."""
    further, first = taken["eight more"]["median"] / TOGETHER, taken["once 1"]["median"]
    return {
        "further_seconds": further,
        "further_of_first": further / first,
        "limit": LIMIT,
        "within_limit": further / first <= LIMIT,
        "anew_of_once": {str(count): _ratio(taken, count) for count in counts},
    }


def _ratio(taken: Mapping[str, Mapping[str, float]], count: int) -> float:
    return taken[f"anew {count}"]["median"] / taken[f"once {count}"]["median"]


def _batch(image: Any, token_ids: Any) -> "Batch":
    import torch

    from deixis.batch import Batch

    return Batch(
        images=image,
        token_ids=token_ids,
        token_mask=torch.ones_like(token_ids, dtype=torch.bool),
        image_index=torch.zeros(len(token_ids), dtype=torch.long),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=DTYPES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS), help="numbers of expressions, from 1")
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(cell(arguments.cell, arguments.repeats, arguments.counts)))
        return 0
    options = ("--repeats", str(arguments.repeats), "--counts", *map(str, arguments.counts))
    rows = [
        {"dtype": dtype} | fresh("benchmarks.encode_once", "--cell", dtype, *options, limit=3600) for dtype in DTYPES
    ]
    # A load above the number of cores makes the seconds too long; the ratios suffer less, as all took turns.
    shape = {"side": SIDE, "tokens": TOKENS, "together": TOGETHER, "load_average": os.getloadavg()[1]}
    write("encode_once", {"command": called("benchmarks.encode_once"), **shape, "rows": rows})
    print(json.dumps(rows, indent=1))
    return 0 if all(row.get("within_limit") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
