"""Toyland's transfers: a small base network on a drawn source with masks and another drawn domain without masks.

- `python -m benchmarks.adaptation` trains every method on them; images have 96 pixels, so that one core suffices
- in place of ImageNet's weights the ResNet learns the kinds and colours of the source's pixels first; all rows, and
  SDA's classifier, start from that
"""

from collections.abc import Collection
from dataclasses import replace

from ..data.transforms import Preprocess
from ..errors import InputError, did_you_mean
from ..models.scene_parsing import SceneParsingConfig
from ..models.sda import SDAConfig
from ..objectives.dense_classes import DenseClassesConfig
from ..records import MaskRule
from ..runs.data import ToylandData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.gru import GRUConfig
from ..toyland.scene.domains import DISCREPANCIES, TRANSFERS, Discrepancy
from ..toyland.scene_classes import ATTRIBUTES
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..vision.i3d import I3DConfig
from ..vision.resnet import ResNetConfig
from .adapt import adaptation
from .sda import CLASSIFIER
from .toyland import SCENE_PARSING

SIZE = 96  # of the images, in pixels
TARGET_SCENES = 100_000_000  # the number of the target's first scene, so that no scene is in both domains
DATA = ToylandData(
    num_scenes=1_000,
    validation_scenes=120,
    validation_limit=100,
    size=SIZE,
    sentences_per_object=1,
    sentences_per_image=4,
    draw="sentence",
)
VISION = ResNetConfig(depths=(2, 3, 3, 2), width=8, norms="trained")
# Words meet pixels once for each sentence, the ResNet runs once for each image: the cost is that of the former.
SYSTEM = SDAConfig(
    vision=VISION,
    text=GRUConfig(vocabulary=1200, embedding=96, width=128),
    width=64,
    decoder_width=32,
    regions=24,
)
OPTIMISER = Optimiser(
    lr=1e-3,
    muon_lr=0.01,
    weight_decay=0.02,
    no_decay=("*bn*", "*bias*"),
    lr_multipliers={"vision.*": 0.3},  # at the full rate Muon destroys what the encoder learned before
    clip=1.0,
)
PARSED = StartFrom(checkpoint=SCENE_PARSING, prefixes={"vision.": "vision."})


def toyland_transfer(name: str, only: Collection[Discrepancy] = DISCREPANCIES) -> Run:
    """The Run of a transfer's source, with its target; `only` leaves some of their discrepancies.

    It starts from the Run that `parsed` puts before it. Raises `InputError` where there is no such transfer.
    """
    if name not in TRANSFERS:
        raise InputError(f"Toyland has no transfer {name!r}. {did_you_mean(name, TRANSFERS)}")
    transfer = TRANSFERS[name].turned(only)
    return Run(
        data=DATA.of_domain(transfer.source),
        target=replace(DATA.of_domain(transfer.target), skip_scenes=TARGET_SCENES),
        system=SYSTEM,
        preprocess=Preprocess(image_size=SIZE, max_tokens=20, fit="pad"),
        mask_rule=MaskRule(kind="half-maximum"),
        optimiser=OPTIMISER,
        schedule=Schedule(steps=400, batch_size=32, warm_up=30, log_every=25, validate_every=400, save_every=100),
        vocabulary=LEARNED,
        start_from=PARSED,
        workers=0,
        description=f"A small SDA base network on Toyland's transfer {name}.",
    )


def parsed(chain: Chain, run: Run) -> Chain:
    """The chain behind the Run that teaches its ResNet what the pixels of the source show; `run` is the source's."""
    schedule = Schedule(
        steps=400, batch_size=16, warm_up=30, decay="cosine", log_every=50, validate_every=400, save_every=100
    )
    parsing = parsing_run(run, VISION, Preprocess(image_size=SIZE, fit="pad"), schedule)
    runs = dict(chain.runs)
    if CLASSIFIER in runs:  # the published one starts from ImageNet's weights
        runs[CLASSIFIER] = replace(runs[CLASSIFIER], start_from=PARSED)
    return Chain(runs={SCENE_PARSING: parsing, **runs})


def parsing_run(run: Run, vision: ResNetConfig | I3DConfig, preprocess: Preprocess, schedule: Schedule) -> Run:
    """The Run that teaches an encoder what the pixels of the source show; `run` is the source's."""
    assert isinstance(run.data, ToylandData)
    kind = type(vision).__name__.removesuffix("Config")
    return Run(
        data=replace(run.data, labels="classes", draw="image", validation_limit=None),
        system=SceneParsingConfig(
            vision=vision, attributes=tuple((name, len(values)) for name, values in ATTRIBUTES.items())
        ),
        objective=DenseClassesConfig(),
        preprocess=preprocess,
        optimiser=replace(run.optimiser, muon_lr=0.02, no_decay=(), lr_multipliers={}),
        schedule=schedule,
        choose_best="loss",
        seed=run.seed,
        workers=0,
        description=f"A small {kind}, trained to parse the drawings of a transfer's source.",
    )


def sda_park_to_night_town() -> Chain:
    """`deixis train sda-park-to-night-town`: SDA from painted parks to towns at night, without location words.

    Time: docs/sda.md. Score: docs/sda.md.
    """
    return _sda("park-to-night-town")


def sda_zoo_to_sketch_street() -> Chain:
    """`deixis train sda-zoo-to-sketch-street`: SDA from painted zoos to sketched streets in long sentences.

    Time: docs/sda.md. Score: docs/sda.md.
    """
    return _sda("zoo-to-sketch-street")


def sda_photo_to_sketch_home() -> Chain:
    """`deixis train sda-photo-to-sketch-home`: SDA from soft photos of everything to sketched homes in short phrases.

    Time: docs/sda.md. Score: docs/sda.md.
    """
    return _sda("photo-to-sketch-home")


def _sda(transfer: str) -> Chain:
    run = toyland_transfer(transfer)
    return parsed(adaptation("sda", run), run)
