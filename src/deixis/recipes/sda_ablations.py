"""The rows of SDA's ablations, Tables 3 to 9 and Figures 5, 6 and 10: what each changes, and what was published for it.

Scores are oIoU / mAP[.5:.95] on UNC→UNC+, or on RVOS→A2D where a line names it: only that was published there. The
figures print no numbers; the sweeps' values are the tables', and for Figures 5 and 6 ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..adapt.sda.activation import Refinement
from ..adapt.sda.categories import Clusters
from ..adapt.sda.construction import CategoryOptions, ContentOptions
from ..adapt.sda.dual import DualAdaptationConfig
from ..adapt.sda.semantic import SemanticInitialisationConfig
from ..errors import InputError, did_you_mean
from ..runs.run import Chain, Run
from .sda import SOURCE, SDAStages, sda_runs


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row: the stages, what it changes in words, and the published scores."""

    stages: SDAStages
    change: str
    published: str


def ablation(name: str, source: Run, refinement: Refinement = "superpixel-walk") -> Chain:
    """The Chain of a row, from the source's Run. Raises `InputError` for an unknown name, with the nearest.

    The published rows refine their activation maps by `boundary-walk`, which trains one Run more.
    """
    if name not in ABLATIONS:
        raise InputError(f"There is no ablation {name!r}. {did_you_mean(name, ABLATIONS)}")
    stages = ABLATIONS[name].stages
    activation = replace(stages.dual.activation, refinement=refinement)
    stages = replace(stages, dual=replace(stages.dual, activation=activation))
    return Chain(runs={SOURCE: source, **sda_runs(source, stages)})


def _stages(
    *,
    content: Mapping[str, Any] | None = None,
    categories: Mapping[str, Any] | None = None,
    dual: Mapping[str, Any] | None = None,
    has_stage_3: bool = True,
    weight: float = 1.0,
) -> SDAStages:
    return SDAStages(
        semantic=SemanticInitialisationConfig(
            content=ContentOptions(**(content or {})), categories=CategoryOptions(**(categories or {})), weight=weight
        ),
        dual=DualAdaptationConfig(**(dual or {})),
        has_stage_3=has_stage_3,
    )


def _clusters(method: str, count: int) -> SDAStages:
    return _stages(categories={"clusters": Clusters(method=method, count=count)})  # type: ignore[arg-type]


def _thresholds(high: float, low: float) -> SDAStages:
    """Of the pseudo masks: in stage 3, and where contents need them."""
    return _stages(content={"high": high}, dual={"high": high, "low": low})


NO_CFB: dict[str, Any] = {"contrast_weight": 0.0}
NO_RRB: dict[str, Any] = {"is_collaborative": False, "relation_weight": 0.0}
# Without CSM there are no categories: one for all, no L_si, and Ā^t is A^t.
NO_CSM = _stages(categories={"is_single": True}, weight=0.0, dual={"is_reciprocal": False})
_K_MEANS = {10: "43.42 / 24.20", 50: "44.64 / 25.86", 100: "44.97 / 26.05", 500: "44.11 / 24.63"}
_SPECTRAL = {10: "43.38 / 24.26", 50: "45.14 / 25.93", 100: "45.42 / 26.33", 500: "44.20 / 24.48"}
_MEMORY = {10: "26.83", 50: "27.14", 100: "27.32", 200: "27.36"}
_THRESHOLDS = {
    (0.8, 0.2): "45.52 / 26.54",
    (0.7, 0.3): "44.96 / 26.11",
    (0.9, 0.2): "45.73 / 26.85",
    (0.9, 0.3): "45.24 / 26.22",
    (0.8, 0.1): "46.17 / 27.09",
    (0.7, 0.1): "45.82 / 26.94",
}
RVOS = " (RVOS→A2D)"
NONE_PRINTED = "no number is printed"
_BOUNDARY, _DISTANCE = (0.1, 0.3, 0.5, 0.7, 0.9), (0.1, 0.3, 0.5, 0.7, 0.9)
_TEMPERATURE = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def _row(stages: SDAStages, change: str, published: str) -> Ablation:
    return Ablation(stages=stages, change=change, published=published)


ABLATIONS: dict[str, Ablation] = {
    "full": _row(_stages(), "the full method", "37.89 / 26.34"),
    "table-3/csm": _row(_stages(has_stage_3=False), "CSM alone, stage 2", "34.82 / 23.46"),
    "table-3/csm+cfb": _row(_stages(dual=NO_RRB), "without RRB", "36.73 / 25.33"),
    "table-3/csm+rrb": _row(_stages(dual=NO_CFB), "without CFB", "36.09 / 24.87"),
    "table-3/cfb+rrb": _row(NO_CSM, "without CSM", "35.12 / 24.23"),
    "table-4/visual": _row(_stages(content={"kind": "visual"}), "w/ mean-pooling(v)", "34.21 / 22.76"),
    "table-4/words": _row(_stages(content={"kind": "words"}), "w/ mean-pooling(t)", "36.44 / 25.26"),
    "table-4/no-predictor": _row(_stages(content={"has_predictor": False}), "w/o predictor", "37.24 / 25.88"),
    "table-4/no-boundary": _row(_stages(categories={"boundary": None}), "w/o boundary", "37.17 / 25.79"),
    "table-4/no-si": _row(_stages(weight=0.0), "w/o L_si", "36.13 / 24.96"),
    "table-5/no-contrast": _row(_stages(dual={"alignment": "cosine"}), "w/o contrastive", "36.28 / 24.92"),
    "table-5/no-memory": _row(_stages(dual={"memory": 0}), "w/o memory", "37.21 / 25.83"),
    "table-5/no-ct": _row(_stages(dual={"is_collaborative": False}), "w/o L_ct", "37.32 / 25.89"),
    "table-5/no-ho": _row(_stages(dual={"relation_weight": 0.0}), "w/o L_ho", "37.64 / 26.12"),
    "table-5/no-reciprocal": _row(_stages(dual={"is_reciprocal": False}), "w/o reciprocal", "37.18 / 25.61"),
    **{f"table-6/k-means-{k}": _row(_clusters("k-means", k), f"{k} k-means", p + RVOS) for k, p in _K_MEANS.items()},
    **{
        f"table-6/spectral-{k}": _row(_clusters("spectral", k), f"{k} spectral", p + RVOS) for k, p in _SPECTRAL.items()
    },
    "table-7/encoded": _row(_stages(content={"features": "query"}), "encoded features Q", "37.07 / 25.39"),
    **{f"table-8/{b}": _row(_stages(dual={"memory": b}), f"B = {b}", f"mAP {p}{RVOS}") for b, p in _MEMORY.items()},
    **{
        f"table-9/{high}-{low}": _row(_thresholds(high, low), f"γ_max {high}, γ_min {low}", p + RVOS)
        for (high, low), p in _THRESHOLDS.items()
    },
    **{
        f"figure-5/{tau}": _row(_stages(content={"temperature": tau}), f"τ = {tau}", NONE_PRINTED)
        for tau in _TEMPERATURE
    },
    **{f"figure-6/{b}": _row(_stages(categories={"boundary": b}), f"β = {b}", NONE_PRINTED) for b in _BOUNDARY},
    **{
        f"figure-10/{d}": _row(
            _stages(categories={"clusters": Clusters(threshold=d)}), f"distance threshold {d}", NONE_PRINTED
        )
        for d in _DISTANCE
    },
}
# The settings of the full method are in several sweeps under other names.
SAME_AS_FULL = tuple(name for name, row in ABLATIONS.items() if name != "full" and row.stages == _stages())
