"""Training steps a second of the toyland recipes: `python -m benchmarks.training`.

Forward, loss, backward and optimiser step on a batch of sixteen sentences about four drawn-size images, one thread;
reading the data is not counted, nor mask grounding. Every cell runs in a process of its own.
"""

import argparse
import json
from typing import Any

from .measure import called, fresh, peak_megabytes, seconds, write

RECIPES = ("vega_toyland", "lavt_toyland", "magnet_toyland")
SIDES = (128, 256)
IMAGES, SENTENCES, WORDS = 4, 16, 10


def cell(recipe: str, side: int, repeats: int) -> dict[str, Any]:
    import torch

    from deixis.batch import Batch
    from deixis.recipes.catalogue import RECIPES as CATALOGUE
    from deixis.training import optim

    torch.set_num_threads(1)
    torch.manual_seed(0)
    chain: Any = CATALOGUE[recipe]()
    run: Any = list(chain.runs.values())[-1]
    system: Any = run.system.build().train()
    words = torch.randint(5, run.system.vocabulary_size, (SENTENCES, WORDS))
    batch = Batch(
        images=torch.randn(IMAGES, 1, 3, side, side),
        token_ids=words,
        token_mask=torch.ones_like(words, dtype=torch.bool),
        masks=torch.rand(SENTENCES, side, side) > 0.95,
        image_index=torch.arange(IMAGES).repeat_interleave(SENTENCES // IMAGES),
    )
    optimiser = optim.build(system, run.optimiser)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(system.loss(batch, system(batch)).values())).sum().backward()
        optimiser.step()

    taken = seconds(step, repeats=repeats)
    return {
        "recipe": recipe,
        "side": side,
        "seconds": taken,
        "steps_per_second": 1 / taken["median"],
        "sentences_per_second": SENTENCES / taken["median"],
        "parameters": sum(weight.numel() for weight in system.parameters()),
        "peak_rss_mb": peak_megabytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", nargs=2, metavar=("RECIPE", "SIDE"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(cell(arguments.cell[0], int(arguments.cell[1]), arguments.repeats)))
        return
    rows = [
        fresh("benchmarks.training", "--cell", recipe, str(side), "--repeats", str(arguments.repeats))
        for recipe in RECIPES
        for side in SIDES
    ]
    write("training", {"command": called("benchmarks.training"), "rows": rows})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
