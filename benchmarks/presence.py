"""Right sentences and the same with one word exchanged: `python -m benchmarks.presence [MODEL] [--pairs 2000]`.

For each sort of word, pairs about held-out scenes of Toyland, of all subsets that have such words. Both of a pair are
right where the right sentence gets a mask and the exchanged one none. `before` is what the mask alone says, `after`
what the presence head says of the same mask by the card's threshold, `half` what it says at a probability of a half
before its calibration; one pass measures all three. Scenes that are done are kept in `results/presence.part.jsonl`, and
an interrupted call continues behind them.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from .measure import RESULTS, called, write

FIRST_SEED = 1_100_000_000  # behind the scenes of `val`
SUBSETS = {
    "kind": ("toyland", "toyland+", "toyland-g"),
    "colour": ("toyland", "toyland+", "toyland-g"),
    "place": ("toyland", "toyland-g"),
    "relation": ("toyland", "toyland-g"),
}
PER_SCENE = 4  # pairs of a sort
DRAWS = 1000


def pairs_of(position: int, wanted: list[str]) -> Iterator[dict[str, Any]]:
    """Pairs about one scene, with the thing that the right sentence refers to."""
    from deixis.toyland.language.exchange import describe_exchanged
    from deixis.toyland.world import Toyland

    worlds = {name: Toyland(subset=name, num_scenes=10**6, first_seed=FIRST_SEED) for name in SUBSETS["kind"]}
    view = worlds["toyland"].drawn(position).view()
    if not view.certain:
        return
    for sort in wanted:
        rng = Random(f"{position} {sort}")
        found: set[str] = set()
        for number in range(2 * PER_SCENE):
            world, referent = worlds[SUBSETS[sort][number % len(SUBSETS[sort])]], rng.choice(sorted(view.certain))
            pair = describe_exchanged(view, referent, world.wording, rng, (sort,))  # type: ignore[arg-type]
            if pair is not None and pair.right.text not in found and len(found) < PER_SCENE:
                found.add(pair.right.text)
                yield {"sort": sort, "right": pair.right.text, "wrong": pair.wrong.text, "referent": referent}


def answered(segmenter: Any, position: int, wanted: list[str]) -> list[dict[str, Any]]:
    """The scene's pairs, each with what the model says of both sentences."""
    from deixis.toyland.world import Toyland

    if not (rows := list(pairs_of(position, wanted))):
        return []
    image = Toyland(num_scenes=10**6, first_seed=FIRST_SEED).drawn(position).image()
    encoded, rule = segmenter.encode(image.pixels), segmenter.mask_rule()
    for name in ("right", "wrong"):
        for row, prediction in zip(rows, encoded.stream([row[name] for row in rows]), strict=True):
            mask = rule(prediction.probability)
            target = image.masks[row["referent"]]
            iou = float((mask & target).sum() / max(1, (mask | target).sum())) if name == "right" else None
            row[f"{name}_answer"] = {
                "mask": bool(mask.any()),
                "found": prediction.found,
                "score": prediction.score,
                "iou": iou,
            }
    return [{"scene": position, **row} for row in rows]


def score_of_half(segmenter: Any) -> float:
    """The score where the presence head says a half."""
    return 0.5 if segmenter.calibration is None else float(segmenter.calibration(np.array([0.5]))[0])


def measured(segmenter: Any, pairs: int, part: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in part.read_text().splitlines()] if part.exists() else []
    rows = rows[: max((number + 1 for number, row in enumerate(rows) if row["last"]), default=0)]
    counts = Counter(row["sort"] for row in rows)
    position = 1 + max((row["scene"] for row in rows), default=-1)
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with part.open("a") as file:
        while wanted := [sort for sort in SUBSETS if counts[sort] < pairs]:
            new = answered(segmenter, position, wanted)
            for number, row in enumerate(new):
                file.write(json.dumps(row := {**row, "last": number == len(new) - 1}) + "\n")
                rows.append(row)
            file.flush()
            counts.update(row["sort"] for row in new)
            position += 1
    return rows


def summary(rows: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Shares in percent and correlations, each with a 95 % interval over scenes."""
    from deixis.metrics.bootstrap import image_weights, interval
    from deixis.metrics.presence import PresenceRows

    _, scene = np.unique([row["scene"] for row in rows], return_inverse=True)
    found: dict[str, Any] = {"pairs": len(rows), "scenes": int(scene.max()) + 1}
    half = np.array([row["right_answer"]["iou"] >= 0.5 for row in rows])
    answers = {side: [row[f"{side}_answer"] for row in rows] for side in ("right", "wrong")}
    says: dict[str, Callable[[dict[str, Any]], bool]] = {
        "before": lambda answer: answer["mask"],
        "after": lambda answer: answer["found"],
        "half": lambda answer: answer["mask"] and answer["score"] > threshold,
    }
    for name, is_found in says.items():
        right, wrong = (np.array([is_found(answer) for answer in answers[side]]) for side in ("right", "wrong"))
        both = PresenceRows(
            probability=np.array([answer["score"] for side in answers.values() for answer in side]),
            present=np.repeat([True, False], len(rows)),
            found=np.concatenate([right, wrong]),
            image=np.concatenate([scene, scene]),
        )
        totals = np.bincount(scene)
        hits = np.bincount(scene, weights=right & ~wrong)
        shares = np.concatenate([w @ hits / (w @ totals) for w in image_weights(len(totals), draws=DRAWS, seed=0)])
        values, drawn = both.values(), both.resampled(draws=DRAWS)
        found[name] = {
            "both_right": 100 * float((right & ~wrong).mean()),
            "both_right_interval": [100 * bound for bound in interval(shares)],  # type: ignore[union-attr]
            "both_right_with_iou_of_a_half": 100 * float((right & half & ~wrong).mean()),
            **{measure: values[measure] for measure in ("N-acc", "T-acc", "MCC")},
            "MCC_interval": interval(drawn["MCC"]),
            **({} if name == "before" else {"AUROC": values["AUROC"]}),
        }
    return found


def main() -> None:
    from deixis.zoo.loading import load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="bundled")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--name", default="presence", help="of the file in results/")
    options = parser.parse_args()
    part = RESULTS / f"{options.name}.part.jsonl"
    segmenter = load(options.model, device="cpu")
    rows, threshold = measured(segmenter, options.pairs, part), score_of_half(segmenter)
    kinds = {sort: summary([row for row in rows if row["sort"] == sort], threshold) for sort in SUBSETS}
    result = {
        "command": called("benchmarks.presence"),
        "score_of_half": threshold,
        "all": summary(rows, threshold),
        **kinds,
    }
    print(json.dumps(result, indent=1))
    print(write(options.name, result))
    part.unlink()


if __name__ == "__main__":
    main()
