"""SDA's recipes: the base network on photographs, the Chain of the three stages, and the rows of the paper's ablations.

The Runs after the source's are `predictor` (Appendix B.1), `semantic` (stage 2), `classifier` (Appendix B.2) and `sda`
(stage 3), and before the last one `affinity` where a trained network refines the activation maps. Whatever a row does
not need is left out of its Chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..adapt.sda.activation import ActivationOptions, Refinement
from ..adapt.sda.affinity import AffinityConfig
from ..adapt.sda.affinity_labels import AffinityLossConfig
from ..adapt.sda.classifier import CategoryClassifierConfig, CategoryLabelsConfig
from ..adapt.sda.dual import DualAdaptationConfig
from ..adapt.sda.predictor import WordDistillationConfig, WordWeighingConfig
from ..adapt.sda.semantic import SemanticInitialisationConfig
from ..data.transforms import Preprocess
from ..errors import InputError
from ..models.sda import SDAConfig
from ..records import MaskRule
from ..runs.data import StoredData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.gru import GRUConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..vision.i3d import I3DConfig
from ..vision.resnet import ResNetConfig

SOURCE, PREDICTOR, SEMANTIC, CLASSIFIER = "source", "predictor", "semantic", "classifier"
AFFINITY, SDA = "affinity", "sda"
STAGE_3, SHORT = 10 / 20, 5 / 20  # epochs of stage 3, and of the predictor and the classifier, to stage 1's twenty
# The first half of the published classifier is not trained (IRN's code).
FIXED = ("vision.conv1.*", "vision.bn1.*", "vision.layer1.*", "vision.layer2.*")
SMALL = ResNetConfig(depths=(2, 2, 2, 2), width=32, norms="trained")


@dataclass(frozen=True, kw_only=True)
class SDAStages:
    """What varies between the rows of the paper; the defaults are the full method.

    `has_stage_3=False` ends after stage 2 (Table 3, CSM alone). `classifier_start` is where the classifier's weights
    come from, where it is not the source's file of a ResNet.
    """

    semantic: SemanticInitialisationConfig = field(default_factory=SemanticInitialisationConfig)
    dual: DualAdaptationConfig = field(default_factory=DualAdaptationConfig)
    affinity: AffinityLossConfig = field(default_factory=AffinityLossConfig)
    has_stage_3: bool = True
    classifier_start: StartFrom | None = None


# The paper refines its activation maps as IRN does; elsewhere the walk is one that needs no further training.
PUBLISHED = SDAStages(dual=DualAdaptationConfig(activation=ActivationOptions(refinement="boundary-walk")))


def sda_runs(source: Run, stages: SDAStages | None = None) -> Mapping[str, Run]:
    """The Runs that follow the one named `source` in a chain, at the lengths that its schedule implies.

    Stage 2 is as long as stage 1 and starts its schedule anew; stage 3 continues stage 2's rates for half as long
    (Appendix C.2). The classifier is by default a ResNet of the source's size, where the source's system has one.
    """
    stages = stages or SDAStages()
    weighted = stages.semantic.content.needs_predictor and not stages.semantic.categories.is_single
    runs: dict[str, Run] = {}
    if weighted:
        runs[PREDICTOR] = _predictor(source, stages)
    runs[SEMANTIC] = replace(
        source, objective=stages.semantic, start_from=StartFrom(checkpoint=SOURCE), vocabulary=SOURCE
    )
    if not stages.has_stage_3:
        return runs
    dual = replace(stages.dual, classifier=_classifier_config(source, stages))
    if dual.needs_classifier:
        runs[CLASSIFIER] = _classifier(source, stages, dual.classifier)
    if dual.affinity is not None:
        runs[AFFINITY] = _affinity(source, stages, runs[CLASSIFIER], dual.affinity)
    runs[SDA] = replace(
        source,
        objective=dual,
        schedule=_longer(source.schedule, STAGE_3, continues=True),
        start_from=StartFrom(checkpoint=SEMANTIC),
        vocabulary=SOURCE,
    )
    return runs


def with_refinement(chain: Chain, refinement: Refinement) -> Chain:
    """A chain of all stages whose activation maps are refined so, with the Run that this needs."""
    last = chain.runs[SDA]
    assert isinstance(last.objective, DualAdaptationConfig)
    dual = replace(last.objective, activation=replace(last.objective.activation, refinement=refinement))
    before = {name: run for name, run in chain.runs.items() if name not in (AFFINITY, SDA)}
    if dual.affinity is not None:
        before[AFFINITY] = _affinity(chain.runs[SOURCE], SDAStages(), before[CLASSIFIER], dual.affinity)
    return Chain(runs={**before, SDA: replace(last, objective=dual)})


def _predictor(source: Run, stages: SDAStages) -> Run:
    """On the source alone, everything else fixed; the paper gives its epochs, not its rate."""
    return replace(
        source,
        system=WordWeighingConfig(segmenter=source.system),
        objective=WordDistillationConfig(average=stages.semantic.content.average),
        optimiser=Optimiser(lr=source.optimiser.lr, weight_decay=0.0),
        schedule=_longer(replace(source.schedule, warm_up=0, decay="constant"), SHORT),
        start_from=StartFrom(checkpoint=SOURCE, prefixes={"": "segmenter."}),
        vocabulary=SOURCE,
        description="The weights of an expression's words, learned from a segmenter's attention.",
    )


def _classifier_config(source: Run, stages: SDAStages) -> CategoryClassifierConfig:
    """The option's own where it is set; else a ResNet like the system's, or a small one where that has none."""
    if stages.dual.classifier != CategoryClassifierConfig():
        return stages.dual.classifier
    vision = source.system.vision if isinstance(source.system, SDAConfig) else SMALL
    if isinstance(vision, I3DConfig):  # the classifier sees single frames
        vision = ResNetConfig() if vision.norms == "frozen" else SMALL
    return CategoryClassifierConfig(vision=vision)


def _classifier(source: Run, stages: SDAStages, config: CategoryClassifierConfig) -> Run:
    """On the target's images. Adam at a smaller rate stands in for IRN's momentum of 0.9 at 0.01; the head's is ×10."""
    if source.target is None:
        raise InputError("The run has no target domain to adapt to; give its target.")
    origin = stages.classifier_start or StartFrom(resnet=source.start_from.resnet)
    is_published = config.vision.norms == "frozen"  # which only published weights can be
    schedule = replace(source.schedule, warm_up=0, decay="polynomial", power=0.9)
    return replace(
        source,
        system=config,
        objective=CategoryLabelsConfig(),
        optimiser=Optimiser(
            lr=1e-4 if is_published else source.optimiser.lr,
            weight_decay=1e-4,
            frozen=FIXED if is_published else (),
            lr_multipliers={"head.*": 10.0} if is_published else {},
        ),
        schedule=_longer(schedule, SHORT),
        start_from=origin,
        vocabulary=SOURCE,
        description="The categories of the target's images, of which activation maps are made.",
    )


def _affinity(source: Run, stages: SDAStages, classifier: Run, config: AffinityConfig) -> Run:
    """The head on the classifier, on the target's images; its length and rates are ours."""
    return replace(
        classifier,
        system=config,
        objective=stages.affinity,
        optimiser=Optimiser(lr=source.optimiser.lr, weight_decay=1e-4),
        start_from=StartFrom(checkpoint=CLASSIFIER, prefixes={"": "classifier."}),
        description="Which cells of the target's images belong together, for the walk that refines activation maps.",
    )


def _longer(schedule: Schedule, times: float, *, continues: bool = False) -> Schedule:
    steps = None if schedule.steps is None else max(1, round(times * schedule.steps))
    length = schedule.epochs if schedule.steps is None else schedule.steps
    epochs = max(1, round(times * schedule.epochs))
    return replace(schedule, steps=steps, epochs=epochs, after=length if continues else 0)


def sda_refcoco_to_refcoco_plus() -> Chain:
    """`deixis train sda-refcoco-to-refcoco-plus`: SDA from RefCOCO (UNC) to the expressions of RefCOCO+ (UNC+).

    The data sets are in one folder: `--all.data.root DATA --all.target.root DATA`. Published files:
    `--source.start-from.resnet R --classifier.start-from.resnet R --source.start-from.glove glove.6B.300d.txt`.
    Time: not measured. Score: published on RefCOCO+ (no split is named; val here) oIoU 37.89, mIoU 41.23, mAP 26.34,
    against 34.57, 38.31, 23.15 of the source alone.
    """
    return _from_refcoco(StoredData(dataset="refcoco+", split_by="unc"))


def sda_refcoco_to_gref() -> Chain:
    """`deixis train sda-refcoco-to-gref`: SDA from RefCOCO (UNC) to G-Ref (RefCOCOg, the UMD split).

    Options as of `sda-refcoco-to-refcoco-plus`.
    Time: not measured. Score: published on G-Ref (no split is named; val here) oIoU 39.64, mIoU 43.13, mAP 29.76,
    against 37.45, 41.09, 26.42 of the source alone.
    """
    return _from_refcoco(StoredData(dataset="refcocog", split_by="umd"))


def _from_refcoco(target: StoredData) -> Chain:
    source = replace(sda_base_refcoco(), target=target)
    return Chain(runs={SOURCE: source, **sda_runs(source, PUBLISHED)})


def sda_base_refcoco() -> Run:
    """`deixis train sda-base-refcoco --data.root DATA`: SDA's base network on RefCOCO (UNC), a source.

    It starts from published files: `--start-from.resnet resnet101.pth --start-from.glove glove.6B.300d.txt`. Without
    GloVe: `--system.text.glove False`. The paper's rate "decreases proportionally", read as an inverse square root.
    Time: not measured. Score: published, tested on RefCOCO+ oIoU 34.57, mIoU 38.31, on G-Ref 37.45, 41.09.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=SDAConfig(text=GRUConfig(glove=True)),
        preprocess=Preprocess(image_size=320, max_tokens=20, fit="pad"),
        mask_rule=MaskRule(kind="half-maximum"),
        optimiser=Optimiser(lr=4e-4, weight_decay=0.0),
        schedule=Schedule(epochs=20, batch_size=8, warm_up=300, warm_up_from=2.5e-4, decay="inverse"),
        vocabulary=LEARNED,
        workers=8,
        description="SDA's base network, ResNet-101 and GloVe, trained on RefCOCO (UNC).",
    )
