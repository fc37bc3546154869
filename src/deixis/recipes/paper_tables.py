"""The rows of VEGA's Tables 2, 3, 4 and 6 and of MagNet's ablations: what each changes, and what was published for it.

A row is trained as `deixis train RECIPE/ROW`, for example `vega-refcoco/table-2/words` or `vega-toyland/table-2/words`:
every recipe of the system has the rows. The scores are on RefCOCO val. The main text of MagNet's paper was not
available to us: its rows vary the parts that the supplement describes, and only the full method's score is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import InputError, did_you_mean
from ..models.magnet import MagNetConfig
from ..models.vega import VEGAConfig
from ..objectives.mask_grounding import MaskGroundingConfig
from ..objectives.supervised import SupervisedConfig
from ..runs.run import Chain, Run

MEASURES = ("P@0.5", "P@0.7", "P@0.9", "mIoU", "oIoU")
FULL = "full"  # the method as published, which several tables repeat under their own names


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the paper calls it, the fields that it changes, and its published scores in percent.

    `grounding` are fields of mask grounding; None trains without it.
    """

    change: str
    system: Mapping[str, Any] = field(default_factory=dict)
    grounding: Mapping[str, Any] | None = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)


def with_row(job: Run | Chain, name: str) -> Run | Chain:
    """The recipe's job with the row's changes in its last Run. Raises `InputError` where it has no such row."""
    rows = rows_of(job)
    if name not in rows:
        known = did_you_mean(name, rows) if rows else "VEGA's and MagNet's recipes have rows."
        raise InputError(f"There is no row {name!r} of this recipe. {known}")
    if isinstance(job, Run):
        return _changed(job, name, rows[name])
    runs = dict(job.runs)
    last = list(runs)[-1]
    return Chain(runs=runs | {last: _changed(runs[last], name, rows[name])})


def rows_of(job: Run | Chain) -> Mapping[str, Row]:
    """The rows of the system that the job trains last; none of a system without such tables."""
    run = job if isinstance(job, Run) else list(job.runs.values())[-1]
    return next((rows for config, rows in ROWS.items() if isinstance(run.system, config)), {})


def same_as_full(rows: Mapping[str, Row]) -> tuple[str, ...]:
    """The names under which the tables repeat the full method."""
    full = rows[FULL].system, rows[FULL].grounding
    return tuple(name for name, row in rows.items() if name != FULL and (row.system, row.grounding) == full)


def _changed(run: Run, name: str, row: Row) -> Run:
    objective: Any = run.objective
    if row.grounding is None:
        objective = SupervisedConfig()
    elif row.grounding:
        objective = replace(objective, **row.grounding)
    description = f"{run.description} Row {name}: {row.change}." if name != FULL else run.description
    return replace(run, system=replace(run.system, **row.system), objective=objective, description=description)  # type: ignore[type-var]


def _row(change: str, scores: tuple[float, ...] = (), /, **system: Any) -> Row:
    """A row of VEGA; of two scores the last two of `MEASURES`. A field at its default is not a change."""
    default = VEGAConfig()
    changed = {name: value for name, value in system.items() if value != getattr(default, name)}
    return Row(change=change, system=changed, published=dict(zip(MEASURES[-len(scores) :], scores, strict=True)))


_RATIOS = {
    0.1: (86.67, 78.21, 36.02, 76.11, 74.82),
    0.2: (86.56, 78.25, 37.18, 76.08, 75.02),
    0.3: (86.70, 78.28, 37.24, 76.27, 75.35),
    0.4: (86.59, 78.26, 37.22, 76.24, 75.28),
    0.5: (86.49, 78.17, 37.23, 76.22, 75.14),
    0.6: (86.35, 78.25, 37.21, 76.16, 75.12),
    0.7: (86.34, 78.24, 37.19, 76.08, 74.97),
    0.8: (86.28, 78.22, 37.14, 76.03, 74.80),
}
_OURS = (86.71, 78.30, 37.24, 76.28, 75.35)

VEGA_ROWS: Mapping[str, Row] = {
    FULL: _row("the full method", _OURS),
    "table-2/words": _row("linguistic expression", (85.47, 76.27, 35.79, 75.16, 73.31), guidance="words"),
    "table-2/enhanced": _row(
        "enhanced linguistic expression", (86.39, 78.32, 36.89, 76.06, 73.91), guidance="enhanced"
    ),
    "table-2/enhanced+visual": _row("enhanced linguistic + visual expression", _OURS, guidance="enhanced+visual"),
    "table-3a/all-pixels": _row(
        "total visual pixel tokens", (86.14, 77.76, 36.87, 76.02, 74.16), visual_guidance="all-pixels"
    ),
    "table-3a/top-pixels": _row(
        "top-k visual pixel tokens", (86.30, 77.95, 37.01, 76.04, 74.58), visual_guidance="top-pixels"
    ),
    "table-3a/expression": _row("visual expression", _OURS, visual_guidance="expression"),
    "table-3b/none": _row("neither global nor local cues", (86.19, 77.93, 36.81, 75.83, 73.84), cues="none"),
    "table-3b/local": _row("local cues", (86.44, 78.11, 37.06, 76.10, 74.86), cues="local"),
    "table-3b/global": _row("global cue", (86.56, 78.13, 37.10, 76.13, 74.93), cues="global"),
    "table-3b/both": _row("global and local cues", _OURS, cues="both"),
    "table-4a/threshold": _row("sigmoid (> 0.5)", (76.15, 74.81), selection="threshold"),
    "table-4a/top-k": _row("top-k ranked selection", (76.27, 75.35), selection="top-k"),
    "table-4b/off": _row("without contrastive loss", (76.24, 74.92), pixel_contrast=False),
    "table-4b/on": _row("with contrastive loss", (76.27, 75.35), pixel_contrast=True),
    "table-4c/off": _row("similarities not multiplied", (76.23, 75.05), weigh_by_similarity=False),
    "table-4c/on": _row("similarities multiplied", (76.27, 75.35), weigh_by_similarity=True),
    "table-4d/none": _row("no normalisation", (76.18, 74.97), normalise="none"),
    "table-4d/all": _row("normalisation without top-k mask", (76.22, 75.14), normalise="all"),
    "table-4d/selected": _row("normalisation with top-k mask", (76.27, 75.35), normalise="selected"),
    "table-4e/off": _row("without top-k cross-attention", (76.11, 74.23), attend_to_selected=False),
    "table-4e/on": _row("with top-k cross-attention", (76.27, 75.35), attend_to_selected=True),
    **{
        f"table-6/{ratio}": _row(f"k = {100 * ratio:.0f} %", scores, selection_ratio=ratio)
        for ratio, scores in _RATIOS.items()
    },
}

_NO_MODULE, _NO_LOSS = {"alignment_module": False}, {"alignment_weight": 0.0}

MAGNET_ROWS: Mapping[str, Row] = {
    FULL: Row(change="the full method", published={"oIoU": 75.24}),
    "parts/none": Row(change="none of the three parts", system=_NO_MODULE | _NO_LOSS, grounding=None),
    "parts/grounding": Row(change="mask grounding alone", system=_NO_MODULE | _NO_LOSS),
    "parts/module": Row(change="alignment module alone", system=_NO_LOSS, grounding=None),
    "parts/loss": Row(change="alignment loss alone", system=_NO_MODULE, grounding=None),
    "parts/no-grounding": Row(change="without mask grounding", grounding=None),
    "parts/no-module": Row(change="without the alignment module", system=_NO_MODULE),
    "parts/no-loss": Row(change="without the alignment loss", system=_NO_LOSS),
    **{
        f"probability/{value}": Row(
            change=f"words masked with probability {value}",
            grounding={} if value == MaskGroundingConfig().probability else {"probability": value},
        )
        for value in (0.05, 0.15, 0.3, 0.5)
    },
    "encoder/centre": Row(change="the mask's centre as its token"),
    "encoder/box": Row(change="the mask's box as its token", grounding={"encoder": "box"}),
    "encoder/shape": Row(change="a convolution of the mask as its token", grounding={"encoder": "shape"}),
    "grounding/not-predicted": Row(change="words masked, but not predicted", grounding={"weight": 0.0}),
    "grounding/half": Row(change="words masked in half of the sentences", grounding={"fraction": 0.5}),
    "module/no-pooled-maps": Row(change="alignment module without pooled maps", system={"pooled_sides": ()}),
    "fusion/published": Row(change="language fusion as in the published code", system={"language_fusion": "published"}),
}

ROWS: Mapping[type, Mapping[str, Row]] = {VEGAConfig: VEGA_ROWS, MagNetConfig: MAGNET_ROWS}
