"""Latency and memory of full-size LAVT and VEGA: `python -m benchmarks.models`.

Swin-B, BERT-base, 480x480, 20 words, random weights (the time does not depend on them), batch of one image with
one sentence or eight. bf16 is autocast; a processor without bf16 instructions emulates it, and the row says how
slowly. Every cell runs in a process of its own; the sgemm rate of the same machine stands beside, so that a time
can be read as a share of what the machine can do.
"""

import argparse
import itertools
import json
import sys
from typing import Any

from .measure import fresh, peak_megabytes, seconds, write

SYSTEMS = ("lavt", "vega")
DTYPES = ("fp32", "bf16")
MODES = ("eager", "compiled")
SENTENCES = (1, 8)


def cell(system: str, dtype: str, mode: str, sentences: int, repeats: int) -> dict[str, Any]:
    """Seconds a forward pass, peak memory, and floating-point operations of one configuration."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from deixis.records import Batch

    torch.manual_seed(0)
    network = _network(system).eval()
    words = torch.randint(1000, 20000, (sentences, 20))
    batch = Batch(
        images=torch.randn(1, 1, 3, 480, 480),
        words=words,
        word_mask=torch.ones_like(words, dtype=torch.bool),
        image_index=torch.zeros(sentences, dtype=torch.long),
    )
    run = torch.compile(network) if mode == "compiled" else network
    precision = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16")
    with torch.inference_mode(), precision:
        times = seconds(lambda: run(batch), repeats=repeats, warm_ups=2 if dtype == "fp32" else 1)
        peak = peak_megabytes()
        with FlopCounterMode(display=False) as counter:
            network(batch)
    return {
        "system": system,
        "dtype": dtype,
        "mode": mode,
        "sentences": sentences,
        "seconds": times,
        "peak_rss_mb": peak,
        "gflops": counter.get_total_flops() / 1e9,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _network(system: str) -> Any:
    from deixis.models.lavt import LAVT, LAVTConfig
    from deixis.models.vega import VEGA, VEGAConfig
    from deixis.text.bert import BertConfig
    from deixis.vision.swin import SwinConfig

    if system == "lavt":
        return LAVT(LAVTConfig(vision=SwinConfig(), text=BertConfig()))
    return VEGA(VEGAConfig(vision=SwinConfig(), text=BertConfig()))


def sgemm_rate() -> float:
    """GFLOP/s of one large single-precision matrix product: the machine's practical ceiling."""
    import torch

    a, b = torch.randn(3072, 3072), torch.randn(3072, 3072)
    return 2 * 3072**3 / seconds(lambda: a @ b, repeats=9)["median"] / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", nargs=4, metavar=("SYSTEM", "DTYPE", "MODE", "SENTENCES"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    arguments = parser.parse_args()
    if arguments.cell:
        system, dtype, mode, sentences = arguments.cell
        print(json.dumps(cell(system, dtype, mode, int(sentences), arguments.repeats)))
        return
    rows = []
    rate = sgemm_rate()
    for system, dtype, mode, sentences in itertools.product(SYSTEMS, arguments.dtypes, arguments.modes, SENTENCES):
        repeats = arguments.repeats if dtype == "fp32" else 1
        named = {"system": system, "dtype": dtype, "mode": mode, "sentences": sentences}
        rows.append(
            named | fresh("benchmarks.models", "--cell", system, dtype, mode, str(sentences), "--repeats", str(repeats))
        )
        print(json.dumps(rows[-1]), flush=True)
    command = " ".join(["python -m benchmarks.models", *sys.argv[1:]])
    write("models", {"command": command, "sgemm_gflops_per_second": rate, "rows": rows})


if __name__ == "__main__":
    main()
