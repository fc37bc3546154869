"""Toyland's scenes per second on one core, with masks: `python -m benchmarks.toyland_speed`.

Each round samples and draws scenes that no round before has seen, so that no cache of colours is warmer than in
training. Rates are medians over rounds, by the process's own processor time (what one core gives) and by the clock
(which other work on the machine slows down).
"""

import argparse
import json
import os
import statistics
import time

from .measure import called, write

ROUNDS, SCENES, SIZES = 5, 60, (128, 256, 480)
OTHER_STYLES = ("sketch", "night", "blueprint", "photo")


def rate(first_seed: int, scenes: int, size: int, style: str) -> dict[str, float]:
    """Scenes per second to sample, and to sample and draw, from `first_seed` on."""
    from deixis.toyland.domains import STYLES
    from deixis.toyland.drawing import draw
    from deixis.toyland.sampling import sample_scene

    draw(sample_scene(first_seed), STYLES[style], size)  # the noise that all backgrounds share is made once
    seeds = range(first_seed + 1, first_seed + 1 + scenes)
    start = time.process_time()
    sampled = [sample_scene(seed) for seed in seeds]
    sampling = time.process_time() - start
    start, clock = time.process_time(), time.perf_counter()
    for scene in sampled:
        draw(scene, STYLES[style], size)
    drawing, wall = time.process_time() - start, time.perf_counter() - clock
    return {
        "sampled per second": scenes / sampling,
        "sampled and drawn per second": scenes / (sampling + drawing),
        "drawn per second by the clock": scenes / wall,
    }


def measured(rounds: int, scenes: int, size: int, style: str) -> dict[str, object]:
    taken = [rate(number * (scenes + 1), scenes, size, style) for number in range(rounds)]
    medians = {name: round(statistics.median(one[name] for one in taken), 1) for name in taken[0]}
    best = round(max(one["sampled and drawn per second"] for one in taken), 1)
    return {"size": size, "style": style, **medians, "best round": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    rows = [measured(options.rounds, options.scenes, size, "painted") for size in SIZES]
    rows += [
        measured(options.rounds, options.scenes, 256, style) for style in ("sketch", "night", "blueprint", "photo")
    ]
    result = {
        "command": called("benchmarks.toyland_speed"),
        "rounds": options.rounds,
        "scenes a round": options.scenes,
        "load of the machine": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "rows": rows,
    }
    write("toyland_speed", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
