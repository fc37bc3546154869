"""A model for photographs, scored: `python -m benchmarks.photos MODEL --template FOLDER --images FOLDER --real TREE`.

FOLDER holds what `deixis data describe` writes of held-out photos: choices are made on it. TREE is in RefCOCO's layout,
with sentences that people wrote, in val, testA and testB together: score it once for each trained model. The mask of an
expression is emptied where the presence head says so; `answered` are the same models when they always answer. Results
are added to `results/photos.json` under the model's name; `--table` prints them, with the baselines beside.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .measure import RESULTS, called, write

FILE = RESULTS / "photos.json"
ALWAYS = 1e-6  # the presence threshold of a model that always answers
SPLITS = ("val", "testA", "testB")
MEASURES = ("mIoU", "oIoU", "P@0.5")
AXES = ("target size", "people", "describes by")


def scored(segmenter: Any, reader: Any, presence_threshold: float | None = None) -> dict[str, Any]:
    """The measures of protocol `full` and those of each group, over expressions with a referent."""
    from deixis.evaluation.evaluator import evaluate

    found = evaluate(segmenter, reader, presence_threshold=presence_threshold, quiet=False)
    groups = {
        f"{axis}: {name}" if name != "with" else axis: {"expressions": group.num_expressions} | _kept(group.measures)
        for axis, rows in found.breakdowns.items()
        if axis.startswith(AXES)
        for name, group in rows.items()
    }
    facts = {"command": called("benchmarks.photos"), "expressions": found.num_expressions, "images": found.num_images}
    return facts | _kept(found.measures) | {"groups": groups}


def presence(segmenter: Any, reader: Any) -> dict[str, Any]:
    """How well present and absent referents are told apart; N-acc also by the word that was exchanged."""
    from deixis.data.subsets import Subset
    from deixis.evaluation.evaluator import evaluate

    found = evaluate(segmenter, reader, protocol="grefcoco", quiet=False).presence
    if found is None:
        return {}
    kinds: dict[str, list[int]] = {}
    for at in range(len(reader)):
        if (kind := reader[at].traits["description"]).startswith("absent"):
            kinds.setdefault(kind, []).append(at)
    by_kind = {}
    for kind, positions in sorted(kinds.items()):
        part = evaluate(segmenter, Subset(reader, positions), protocol="grefcoco", quiet=False).presence
        assert part is not None
        by_kind[kind] = {"expressions": part.num_absent, "n_acc": part.n_acc, "interval": part.n_acc_interval}
    return {name: each for name, each in asdict(found).items() if name != "bins"} | {"by kind": by_kind}


def _kept(measures: Any) -> dict[str, Any]:
    return {name: {key: measures[name].__dict__[key] for key in ("value", "low", "high")} for name in MEASURES}


def table(results: dict[str, Any]) -> str:
    """Markdown: each model on both sets, with intervals over photos."""
    lines = ["| model | sentences | expressions | mIoU | P@0.5 |", "|---|---|---|---|---|"]
    for name, model in results.items():
        for data in ("template", "real", "real, answered"):
            if data in model:
                cells = [_cell(model[data][measure]) for measure in ("mIoU", "P@0.5")]
                lines.append(f"| {name} | {data} | {model[data]['expressions']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(one: dict[str, float]) -> str:
    return f"{one['value']:.1f} ({one['low']:.1f} to {one['high']:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--name", help="of the model in the results; by default its own")
    parser.add_argument("--template", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = json.loads(FILE.read_text(encoding="utf-8"))["models"] if FILE.exists() else {}
    if options.model is not None:
        from deixis.zoo.loading import load

        segmenter = load(options.model, device="cpu")
        row = results.setdefault(options.name or Path(options.model).name, {})
        row.update(_rows(segmenter, options))
        print(write("photos", {"models": results}))
    print(table(results))


def _rows(segmenter: Any, options: argparse.Namespace) -> dict[str, Any]:
    from deixis import masks
    from deixis.data.readers.jsonl import JsonlDataset
    from deixis.data.readers.options import ReadOptions
    from deixis.data.readers.refcoco import RefCOCO
    from deixis.data.subsets import Concat, Subset

    rows: dict[str, Any] = {}
    if options.template is not None:
        read = ReadOptions(images=options.images, allow_outside=True)
        whole = JsonlDataset(options.template, split="val", options=read)
        present = [at for at in range(len(whole)) if masks.area(whole[at].mask)]
        rows |= {"template": scored(segmenter, Subset(whole, present)), "presence": presence(segmenter, whole)}
    if options.real is not None:
        real = Concat(tuple(RefCOCO(options.real, split=split) for split in SPLITS))
        rows |= {"real": scored(segmenter, real), "real, answered": scored(segmenter, real, ALWAYS)}
    return rows


if __name__ == "__main__":
    main()
