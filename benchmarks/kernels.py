"""Each fast form of `deixis.kernels` against its textbook form, one thread: `python -m benchmarks.kernels`.

A ratio is the textbook's processor time, or peak memory, over the kernel's; the two run in turns, and brackets hold the
smallest and the largest ratio of neighbouring calls. 480: full-size networks at 480x480; toyland: recipes at 256x256.
"""

import itertools
import runpy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from deixis.cli.memory import keep_freed
from deixis.kernels import attention, cosine, windows
from deixis.kernels.deformable import sample_rows, sample_with_gradients
from deixis.kernels.upsampled_convolution import upsampled_convolution
from deixis.layers.attention import Attention
from deixis.layers.deformable import sample_grids

Form = Callable[..., Tensor]
Forms = tuple[Form, Form, list[Tensor]]  # the kernel, the textbook form, and their arguments


def folding(batch: int, queries: int, context: int, width: int, heads: int) -> Forms:
    layer, inputs = Attention(width, heads), [torch.randn(batch, count, width) for count in (queries, context)]
    fold = attention.fold_queries if queries < context else lambda *given: attention.fold_context(*given)[0]
    return partial(fold, layer), layer.textbook, inputs


def cosines(batch: int, words: int, pixels: int, width: int) -> Forms:
    shapes = (batch, pixels, width), (batch, words, width), (width, width), (width,)
    inputs = [torch.randn(shape) for shape in shapes]
    return cosine.projected_cosine, lambda x, y, w, bias: y @ F.normalize(F.linear(x, w, bias), dim=-1).mT, inputs


def sampling(kernel: Form, batch: int, sides: tuple[int, ...], width: int, heads: int) -> Forms:
    sizes, cells = [(side, side) for side in sides], sum(side**2 for side in sides)
    locations = torch.rand(batch, cells, heads, len(sides), 4, 2)
    inputs = [torch.randn(batch, cells, heads, width // heads), locations, torch.rand(locations.shape[:-1])]
    return partial(kernel, sizes=sizes), partial(sample_grids, sizes=sizes), inputs


def window(batch: int, side: int, width: int, heads: int, size: int) -> Forms:
    forms = windows.window_attention, runpy.run_path("tests/kernels/literal_windows.py")["window_attention"]
    bias = torch.randn((2 * size - 1) ** 2, heads)[windows.relative_positions(size, "cpu")]
    inputs = [torch.randn(batch, side, side, 3 * width), torch.randn(3 * width), bias]
    ours, textbook = (partial(form, window=size, shifted=True) for form in forms)
    return ours, textbook, inputs


def attending(count: int, heads: int, tokens: int) -> Forms:
    shapes = *[(count, heads, tokens, 32)] * 3, (heads, tokens, tokens)
    inputs = [torch.randn(shape).bfloat16() for shape in shapes]
    return windows.attend, lambda q, k, v, bias: F.scaled_dot_product_attention(q, k, v, bias[None]), inputs


def convolution(dtype: torch.dtype, side: int, coarse: int, fine: int, width: int) -> Forms:
    def textbook(coarse: Tensor, fine: Tensor, weight: Tensor) -> Tensor:
        enlarged = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
        return F.conv2d(torch.cat([enlarged, fine], dim=1), weight, padding=1)

    shapes = (1, coarse, side, side), (1, fine, 2 * side, 2 * side), (width, coarse + fine, 3, 3)
    inputs = [torch.randn(shape).to(dtype, memory_format=torch.channels_last) for shape in shapes]
    return upsampled_convolution, textbook, inputs


CASES: dict[str, tuple[bool, Callable[[], Forms]]] = {
    "fold_queries, VEGA 480": (False, lambda: folding(1, 21, 3600, 512, 8)),
    "fold_queries, VEGA toyland": (True, lambda: folding(8, 21, 1024, 128, 4)),
    "fold_context, VEGA 480": (False, lambda: folding(1, 14400, 42, 512, 8)),
    "projected_cosine, VEGA toyland": (True, lambda: cosines(8, 21, 1024, 128)),
    "sample_rows, MagNet 480": (False, lambda: sampling(sample_rows, 1, (15, 30, 60, 120), 256, 8)),
    "sample_with_gradients, MagNet": (True, lambda: sampling(sample_with_gradients, 8, (8, 16, 32, 64), 64, 4)),
    "window_attention, Swin-B 480, stage 1": (False, lambda: window(1, 120, 128, 4, 12)),
    "window_attention, Swin-B 480, stage 3": (False, lambda: window(1, 30, 512, 16, 12)),
    "window_attention, toyland, stage 1": (True, lambda: window(8, 64, 32, 1, 8)),
    "attend, Swin-B 480 bf16, stage 1": (False, lambda: attending(100, 4, 144)),
    "upsampled_convolution, LAVT 480": (False, lambda: convolution(torch.float32, 30, 512, 256, 512)),
    "upsampled_convolution, LAVT 480 bf16": (False, lambda: convolution(torch.bfloat16, 30, 512, 256, 512)),
}


def run(form: Form, inputs: list[Tensor], gradients: bool) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    with torch.set_grad_enabled(gradients):
        output = form(*(each.requires_grad_(gradients) for each in inputs))
    if gradients:
        output.sum().backward()
    return time.process_time() - start


def peak(form: Form, inputs: list[Tensor], gradients: bool) -> int:
    """The most bytes that PyTorch had allocated at a time during one call."""
    with torch.profiler.profile(profile_memory=True) as record:
        run(form, inputs, gradients)
    events = sorted(record.profiler.kineto_results.events(), key=lambda each: each.start_ns())
    return max(itertools.accumulate(each.nbytes() for each in events if each.name() == "[memory]"))


def main() -> None:
    keep_freed()  # as the command does
    torch.set_num_threads(1)
    print("| kernel | gradients | textbook / kernel, ms | time ratio | memory ratio |\n|---|---|---|---|---|")
    for name, (gradients, make) in CASES.items():
        torch.manual_seed(0)
        *forms, inputs = make()
        turns = [[run(form, inputs, gradients) for form in forms] for _ in range(10)][1:]  # the first warms up
        kernel, textbook = (1e3 * statistics.median(turn[form] for turn in turns) for form in (0, 1))
        ratios, (less, more) = [turn[1] / turn[0] for turn in turns], [peak(form, inputs, gradients) for form in forms]
        spread = f"{textbook / kernel:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        print(f"| {name} | {gradients} | {textbook:.1f} / {kernel:.1f} | {spread} | {more / less:.2f} |", flush=True)


if __name__ == "__main__":
    main()
