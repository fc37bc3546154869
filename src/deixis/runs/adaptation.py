"""What an adaptation gained: the source's model and the adapted one on the target domain, as a page and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import masks, viz
from ..data.validation import counted
from ..errors import InputError
from ..evaluation.comparison import Difference
from ..evaluation.scoring import limited
from ..files import replaced
from ..predict.segmenter import Segmenter
from ..progress import ProgressBar
from ..records import Config, Reader, Sample
from ..zoo.loading import load
from .finetune import change, full_size_totals
from .objective_report import StoredReport, read_report
from .open_data import open_domains
from .page import Figure, Part, page
from .run import Chain, Run

PAGE, FACTS = "report.html", "report.json"  # in the chain's folder
PICTURES = 12
SIDE = 320  # pixels of a picture's longer side
LABEL = (64, 160, 255)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Each measure on the target before and after, `first` and `second`, None where the target has no masks.

    `reports` are those of the chain's objectives, by the names of their Runs.
    """

    measures: Mapping[str, Difference] | None
    num_expressions: int
    reports: Mapping[str, StoredReport]

    def sentence(self) -> str:
        """Whether the adapted model is better on the target, with the interval."""
        if self.measures is None:
            return "Nothing was measured: the target has no validation split with masks."
        found = self.measures["mIoU"]
        if found.difference is None or found.low is None or found.high is None:
            return "The target's validation split is too small to say whether the adaptation changed the scores."
        change = f"mIoU {found.difference:+.1f} points, 95% interval {found.low:+.1f} … {found.high:+.1f}"
        if round(found.low, 1) > 0:  # a change that the sentence shows as 0.0 is none
            return f"The adaptation improves the scores on the target: {change}."
        if round(found.high, 1) < 0:
            return f"The adaptation harms the scores on the target: {change}."
        return f"No change of the scores on the target is certain: {change}."


def write_gain(chain: Chain, out: Path, *, system: type[Config] | None = None, quiet: bool = False) -> Gain:
    """Score a finished chain's first model and its last on the target, and write `report.html` and `report.json`.

    The page needs no other file. `system` is the config class of a system of your own.
    """
    first, *_, last = chain.runs
    run = chain.runs[first]
    if run.target is None:
        raise InputError(f"{out} holds no adaptation: its first run has no target domain.")
    before, after = (load(out / name, system=system) for name in (first, last))
    readers = open_domains(run.data, run.target)
    scored = _with_masks(readers.validation)
    shown = readers.target if readers.validation is None else readers.validation
    gain = Gain(
        measures=None if scored is None else _measures(before, after, scored, run, quiet),
        num_expressions=0 if scored is None else len(limited(scored, run.target.validation_limit)),
        reports={name: report for name in chain.runs if (report := read_report(out / name)) is not None},
    )
    figures = list(_figures(before, after, limited(shown, PICTURES)))
    facts = _facts(chain, gain)
    with replaced(out / PAGE) as beside:
        beside.write_text(_page(chain, gain, figures), encoding="utf-8")
    with replaced(out / FACTS) as beside:
        beside.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return gain


def _with_masks(validation: Reader | None) -> Reader | None:
    if validation is None or not any(validation[at].mask is not None for at in range(len(validation))):
        return None
    return validation


def _measures(
    before: Segmenter, after: Segmenter, validation: Reader, run: Run, quiet: bool
) -> Mapping[str, Difference]:
    assert run.target is not None
    split = limited(validation, run.target.validation_limit)
    with ProgressBar("scoring", 2 * len(split), quiet=quiet) as bar:
        return change(full_size_totals(before, split, bar), full_size_totals(after, split, bar))


def _figures(before: Segmenter, after: Segmenter, reader: Reader) -> Sequence[Figure]:
    """The photo, both masks beside each other, and the label where there is one."""
    found = []
    for position in range(len(reader)):
        sample = reader[position]
        image = sample.visual.read([sample.frame])[0]
        panels = [(_small(image), "photo")]
        panels += [
            (_small(masks.paint(image, segmenter(image, sample.expression).mask)), name)
            for segmenter, name in ((before, "source only"), (after, "adapted"))
        ]
        panels += _labelled(sample, image)
        pixels = np.asarray(viz.strip(panels, columns=len(panels)))
        found.append(Figure(title=sample.expression, pixels=pixels))
    return found


def _labelled(sample: Sample, image: viz.Pixels) -> list[tuple[viz.Pixels, str]]:
    if sample.mask is None:
        return []
    return [(_small(masks.paint(image, masks.decode(sample.mask), LABEL)), "label")]


def _small(image: viz.Pixels) -> viz.Pixels:
    """At most SIDE pixels long."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _facts(chain: Chain, gain: Gain) -> dict[str, Any]:
    return {
        "runs": {name: type(run.objective).__name__ for name, run in chain.runs.items()},
        "sentence": gain.sentence(),
        "expressions": gain.num_expressions,
        "measures": None if gain.measures is None else {name: asdict(each) for name, each in gain.measures.items()},
        "reports": {name: dict(report.facts) for name, report in gain.reports.items()},
    }


def _page(chain: Chain, gain: Gain, figures: Sequence[Figure]) -> str:
    runs = " → ".join(chain.runs)
    sections: list[tuple[str, Sequence[Part]]] = []
    scores: list[Part] = [gain.sentence()]
    if gain.measures is not None:
        rows: list[tuple[str, ...]] = [("measure", "source only", "adapted", "change", "95% interval")]
        rows += [_row(name, each) for name, each in gain.measures.items()]
        count = counted(gain.num_expressions, "expression", "expressions")
        scores += [f"In percent, on {count} of the target, at each image's own size.", rows]
    sections.append(("Before and after on the target", scores))
    sections.append(("Pictures of the target", figures))
    for name, report in gain.reports.items():
        facts = [(str(key).replace("_", " "), _text(value)) for key, value in report.facts.items()]
        pictures = [
            Figure(title=title, pixels=np.asarray(Image.open(file).convert("RGB")))
            for title, file in report.pictures.items()
        ]
        sections.append((f"What {name} found", [[("fact", "value"), *facts], *pictures]))
    return page(f"Adaptation: {runs}", sections)


def _row(name: str, each: Difference) -> tuple[str, ...]:
    interval = "" if each.low is None or each.high is None else f"{each.low:+.1f} … {each.high:+.1f}"
    numbers = ["" if value is None else f"{value:.1f}" for value in (each.first, each.second)]
    return name, *numbers, "" if each.difference is None else f"{each.difference:+.1f}", interval


def _text(value: Any) -> str:
    """A number with three digits after the point at most."""
    if isinstance(value, float):
        value = round(value, 3)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
