"""Toyland's scenes per second on one core, with masks: `python -m benchmarks.toyland_speed`.

Each round samples and draws new scenes, so that caches are no warmer than in training. Rates are medians over rounds,
in CPU time of the process and in wall-clock time, which depends on the load of the machine.
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
    from deixis.toyland.render.drawing import draw
    from deixis.toyland.scene.domains import STYLES
    from deixis.toyland.scene.sampling import sample_scene

    draw(sample_scene(first_seed), STYLES[style], size)  # generates the noise that all backgrounds share
    seeds = range(first_seed + 1, first_seed + 1 + scenes)
    start = time.process_time()
    sampled = [sample_scene(seed) for seed in seeds]
    sampling_seconds = time.process_time() - start
    start, clock = time.process_time(), time.perf_counter()
    for scene in sampled:
        draw(scene, STYLES[style], size)
    drawing_seconds, wall_seconds = time.process_time() - start, time.perf_counter() - clock
    return {
        "sampled per second": scenes / sampling_seconds,
        "sampled and drawn per second": scenes / (sampling_seconds + drawing_seconds),
        "drawn per second, wall clock": scenes / wall_seconds,
    }


def measure(rounds: int, scenes: int, size: int, style: str) -> dict[str, object]:
    """Medians over the rounds, and the best round."""
    rates = [rate(number * (scenes + 1), scenes, size, style) for number in range(rounds)]
    medians = {name: round(statistics.median(one[name] for one in rates), 1) for name in rates[0]}
    best = round(max(one["sampled and drawn per second"] for one in rates), 1)
    return {"size": size, "style": style, **medians, "best round": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    rows = [measure(options.rounds, options.scenes, size, "painted") for size in SIZES]
    rows += [measure(options.rounds, options.scenes, 256, style) for style in OTHER_STYLES]
    result = {
        "command": called("benchmarks.toyland_speed"),
        "rounds": options.rounds,
        "scenes per round": options.scenes,
        "load average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "rows": rows,
    }
    write("toyland_speed", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
