"""Adaptation to a domain without labels: the Chain of each method, and the small networks of `deixis adapt`.

A chain's first Run, `source`, is supervised on the source domain alone: it is also the row "source only" of a table.
The Runs of the method follow, and start from it. Weights and lengths of the methods are ours, because no source prints
them; MAN and ACP are reconstructions from their abstracts.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..adapt.acp import ACPConfig
from ..adapt.dann import DANNConfig
from ..adapt.man import MANConfig
from ..adapt.mmd import MMDConfig
from ..adapt.plca import PLCAConfig
from ..data.transforms import Preprocess
from ..errors import InputError, did_you_mean
from ..models.lavt import LAVTConfig
from ..models.sda import SDAConfig
from ..objectives.supervised import SupervisedConfig
from ..records import Config, MaskRule
from ..runs.data import Data, StoredData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.gru import GRUConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..vision.resnet import ResNetConfig
from .sda import sda_runs
from .toyland import TEXT, VISION
from .vega import vega_small

SOURCE = "source"  # the name of the first Run
LONGER = 1.5  # of the source's Run: as SDA's 20 + 10 epochs after the 20 of its first stage


def adaptation(method: str, run: Run) -> Chain:
    """The Chain of a method; `run` is the source's, with its target. Raises `InputError` for an unknown method."""
    if method not in METHODS:
        raise InputError(f"There is no method {method!r}. {did_you_mean(method, METHODS)}")
    if run.target is None:
        raise InputError("The run has no target domain to adapt to; give its target.")
    source = replace(run, objective=SupervisedConfig())
    return Chain(runs={SOURCE: source, **METHODS[method](source)})


def oracle(run: Run) -> Run:
    """The other end of a table: the same Run, trained on the target's masks."""
    if run.target is None:
        raise InputError("The run has no target domain to be trained on; give its target.")
    return replace(run, data=replace(run.target, labels="masks"), target=None, objective=SupervisedConfig())


def after_source(run: Run) -> Run:
    """The Run that goes on from the source's weights, with a schedule of its own, as long as SDA's later stages."""
    schedule = run.schedule
    steps = None if schedule.steps is None else round(LONGER * schedule.steps)
    return replace(
        run,
        schedule=replace(schedule, steps=steps, epochs=round(LONGER * schedule.epochs)),
        start_from=StartFrom(checkpoint=SOURCE),
        vocabulary=SOURCE,
    )


def _one_run(name: str, objective: Config) -> Callable[[Run], Mapping[str, Run]]:
    return lambda source: {name: replace(after_source(source), objective=objective)}


METHODS: dict[str, Callable[[Run], Mapping[str, Run]]] = {  # from the source's Run to those that follow it
    "acp": _one_run("acp", ACPConfig()),
    "dann": _one_run("dann", DANNConfig()),
    "man": _one_run("man", MANConfig()),
    "mmd": _one_run("mmd", MMDConfig()),
    "plca": _one_run("plca", PLCAConfig()),
    "sda": sda_runs,
}


def own_source(model: str, source: Data, target: Data, *, is_published: bool = False) -> Run:
    """The source's Run on data of one's own, of a small network that needs no download.

    With `is_published` SDA's network has the paper's size, for a published ResNet-101 that it starts from.
    """
    if model not in MODELS:
        raise InputError(f"There is no model {model!r} to adapt. {did_you_mean(model, MODELS)}")
    run = MODELS[model](is_published)
    schedule = Schedule(
        steps=2_000,
        batch_size=8,
        warm_up=100,
        decay=run.schedule.decay,
        validate_every=250,
        save_every=250,
        log_every=25,
    )
    return replace(run, data=source, target=target, schedule=schedule, vocabulary=LEARNED)


def _sda(is_published: bool) -> Run:
    small = SDAConfig(
        vision=ResNetConfig(depths=(2, 2, 2, 2), width=32, norms="trained"),
        text=GRUConfig(embedding=128, width=256),
        width=256,
        decoder_width=64,
    )
    return Run(
        data=StoredData(),
        system=SDAConfig() if is_published else small,
        preprocess=Preprocess(image_size=320, max_tokens=20, fit="pad"),
        mask_rule=MaskRule(kind="half-maximum"),
        optimiser=Optimiser(lr=4e-4, weight_decay=0.0, clip=1.0),
        schedule=Schedule(decay="inverse"),
        description="SDA's base network, adapted to another domain.",
    )


def _vega(is_published: bool) -> Run:
    return replace(vega_small(), description="A small VEGA, adapted to another domain.")


def _lavt(is_published: bool) -> Run:
    system = LAVTConfig(vision=VISION, text=replace(TEXT, vocabulary=4000), decoder_width=64, dice_weight=1.0)
    return replace(vega_small(), system=system, description="A small LAVT, adapted to another domain.")


MODELS: dict[str, Callable[[bool], Run]] = {"lavt": _lavt, "sda": _sda, "vega": _vega}
