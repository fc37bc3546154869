"""Latency and memory of full-size LAVT, MagNet and VEGA: `python -m benchmarks.models`.

Swin-B, BERT-base, 480x480, 20 words, random weights (the time does not depend on them), one image with one sentence or
eight, asked as the Segmenter asks them: some at a time, compiled one by one. bf16 is weights and pixels in bfloat16, as
`deixis segment --dtype bfloat16` has them; a processor without such instructions emulates them. Freed memory is kept,
as the command keeps it. Every cell runs in a process of its own and is written down at once: a call that was stopped
goes on, `--again` starts anew. The sgemm rate of the same machine stands beside.
"""

import argparse
import itertools
import json
from typing import Any

from .measure import fresh, machine, peak_megabytes, result, seconds, write

SYSTEMS = ("lavt", "vega", "magnet", "magnet-published")
DTYPES = ("fp32", "bf16")
MODES = ("eager", "compiled")
SENTENCES = (1, 8)


def cell(system: str, dtype: str, mode: str, sentences: int, repeats: int) -> dict[str, Any]:
    """Seconds a forward pass, peak memory, and floating-point operations of one configuration."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from deixis.batch import Batch
    from deixis.cli.memory import keep_freed
    from deixis.predict.compiled import Compiled
    from deixis.predict.torch_network import LARGEST_BATCH_OF_A_CPU

    keep_freed()
    torch.manual_seed(0)
    width = torch.bfloat16 if dtype == "bf16" else torch.float32
    ask = network = full_size(system).eval().requires_grad_(False).to(width)  # the counter trips over bare parameters
    image = torch.randn(1, 1, 3, 480, 480).to(width)
    batches = [
        Batch(
            images=image,
            token_ids=words,
            token_mask=torch.ones_like(words, dtype=torch.bool),
            image_index=torch.zeros(len(words), dtype=torch.long),
        )
        for words in torch.randint(1000, 20000, (sentences, 20)).split(LARGEST_BATCH_OF_A_CPU)
    ]

    def answer() -> None:  # by whatever `ask` is then
        for batch in batches:
            ask(batch)

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which PyTorch leaves out
    with torch.inference_mode():
        with FlopCounterMode(display=False, custom_mapping={fused: attention_flops}) as counter:
            answer()
        if mode == "compiled":
            ask = Compiled(network, tokens=20)
        first = seconds(answer, repeats=1, warm_ups=0)["median"]
        times = seconds(answer, repeats=repeats, warm_ups=1)
        peak = peak_megabytes()
    return {
        "system": system,
        "dtype": dtype,
        "mode": mode,
        "sentences": sentences,
        "first_seconds": first,
        "seconds": times,
        "peak_rss_mb": peak,
        "gflops": counter.get_total_flops() / 1e9,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def attention_flops(query: Any, key: Any, value: Any, *others: Any, out_shape: Any, **options: Any) -> int:
    """Of attention, from its arguments' shapes: each score and each share of a value is a multiplication and a sum."""
    batch, heads, asks, width = query
    return 2 * batch * heads * asks * key[2] * (width + value[3])


def full_size(system: str) -> Any:
    from deixis.models.lavt import LAVTConfig
    from deixis.models.magnet import MagNetConfig
    from deixis.models.vega import VEGAConfig

    configs: dict[str, Any] = {
        "lavt": LAVTConfig(),
        "vega": VEGAConfig(),
        "magnet": MagNetConfig(),
        "magnet-published": MagNetConfig(language_fusion="published", presence=False),
    }
    return configs[system].build()


def sgemm_rate() -> float:
    """GFLOP/s of one large single-precision matrix product: the machine's practical ceiling."""
    import torch

    a, b = torch.randn(3072, 3072), torch.randn(3072, 3072)
    return 2 * 3072**3 / seconds(lambda: a @ b, repeats=9)["median"] / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", nargs=4, metavar=("SYSTEM", "DTYPE", "MODE", "SENTENCES"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="measure what was measured before, too")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    parser.add_argument("--sentences", nargs="+", type=int, default=list(SENTENCES))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    arguments = parser.parse_args()
    if arguments.cell:
        system, dtype, mode, sentences = arguments.cell
        print(json.dumps(cell(system, dtype, mode, int(sentences), arguments.repeats)))
        return
    command = f"python -m benchmarks.models --again --repeats {arguments.repeats}"  # what takes all of it anew
    before = None if arguments.again else result("models")
    here = before is not None and before["machine"] == machine()
    rows = before["rows"] if before is not None and here else []
    rate = before["sgemm_gflops_per_second"] if before is not None and here else sgemm_rate()
    cells = itertools.product(arguments.systems, arguments.dtypes, arguments.modes, arguments.sentences)
    for system, dtype, mode, sentences in cells:
        named = {"system": system, "dtype": dtype, "mode": mode, "sentences": sentences}
        if any(named.items() <= row.items() and "failed" not in row for row in rows):
            continue
        cell_of = ("--cell", system, dtype, mode, str(sentences), "--repeats", str(arguments.repeats))
        row = named | fresh("benchmarks.models", *cell_of)
        rows = [old for old in rows if not named.items() <= old.items()] + [row]
        print(json.dumps(row), flush=True)
        write("models", {"command": command, "sgemm_gflops_per_second": rate, "rows": rows})


if __name__ == "__main__":
    main()
