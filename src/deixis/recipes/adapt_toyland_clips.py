"""A transfer between Toyland's clips: SDA's base network with a small I3D, from a drawn source to another domain.

- `python -m benchmarks.clip_adaptation` trains source only, SDA and oracle; clips have 8 frames of 80 pixels
- in place of Kinetics' weights I3D learns the kinds and colours of the pixels of the source's clips first; every row
  starts from that. SDA's classifier, which sees single frames, starts from a ResNet that learned the same
- things move by up to a tenth of the picture between two frames: `time="centre"`, not the mean over all frames
"""

from dataclasses import replace

from ..adapt.sda.classifier import CategoryClassifierConfig
from ..adapt.sda.dual import DualAdaptationConfig
from ..data.transforms import Preprocess
from ..models.sda import SDAConfig
from ..objectives.supervised import SupervisedConfig
from ..records import MaskRule
from ..runs.data import ToylandData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.gru import GRUConfig
from ..toyland.scene.domains import PARK, PHOTO, TOWN, Domain, Transfer
from ..training.schedule import Schedule
from ..vision.i3d import RESOLUTIONS, I3DConfig
from ..vision.resnet import ResNetConfig
from .adapt import SOURCE, oracle
from .adapt_toyland import OPTIMISER, TARGET_SCENES, parsing_run
from .sda import CLASSIFIER, SDA, SDAStages, sda_runs
from .toyland import SCENE_PARSING

# At night, the small network that is trained on painted parks finds no more than a blob in the picture's centre.
TRANSFER = Transfer(
    source=Domain(content=PARK, subset="toyland"), target=Domain(content=TOWN, style=PHOTO, subset="toyland+")
)
FRAME_PARSING = "frame-parsing"  # the Run that teaches the classifier's ResNet
SIDE, FRAMES = 80, 8
DATA = ToylandData(
    num_scenes=1_200,
    validation_scenes=150,
    validation_limit=200,
    size=SIDE,
    num_frames=FRAMES,
    sentences_per_image=8,
    draw="sentence",
    packers=1,
)
VISION = I3DConfig(levels=RESOLUTIONS[1:], width=16, norms="trained")
CLASSIFIER_VISION = ResNetConfig(depths=(1, 2, 2, 1), width=8, norms="trained")
PREPROCESS = Preprocess(image_size=SIDE, max_tokens=20, fit="pad", num_frames=FRAMES)
SYSTEM = SDAConfig(
    vision=VISION,
    text=GRUConfig(vocabulary=1200, embedding=96, width=128),
    width=64,
    decoder_width=32,
    regions=30,
    time="centre",
)


def toyland_clips_transfer() -> Run:
    """The source's Run, with its target; it starts from the Run named `scene-parsing`."""
    return Run(
        data=DATA.of_domain(TRANSFER.source),
        target=replace(DATA.of_domain(TRANSFER.target), skip_scenes=TARGET_SCENES),
        system=SYSTEM,
        preprocess=PREPROCESS,
        mask_rule=MaskRule(kind="half-maximum"),
        optimiser=OPTIMISER,
        schedule=Schedule(steps=700, batch_size=40, warm_up=40, log_every=25, validate_every=700, save_every=50),
        vocabulary=LEARNED,
        start_from=_after(SCENE_PARSING),
        workers=0,
        description="A small SDA base network with I3D on Toyland's clips of parks, adapted to clips of towns.",
    )


def source_only(run: Run) -> Chain:
    """The row "source only" of the transfer's Run, and the beginning of SDA's."""
    return Chain(runs={SCENE_PARSING: _parsing(run, VISION), SOURCE: replace(run, objective=SupervisedConfig())})


def clip_oracle(run: Run) -> Chain:
    """The same network, trained on the target's masks."""
    return Chain(runs={SCENE_PARSING: _parsing(run, VISION), "oracle": oracle(run)})


def clip_sda(run: Run) -> Chain:
    """All stages of SDA; a ResNet for its classifier is trained before it."""
    classifier = CategoryClassifierConfig(vision=CLASSIFIER_VISION)
    stages = SDAStages(dual=DualAdaptationConfig(classifier=classifier), classifier_start=_after(FRAME_PARSING))
    before = dict(source_only(run).runs)
    later = dict(sda_runs(before[SOURCE], stages))
    last = {name: later.pop(name) for name in (CLASSIFIER, SDA)}
    return Chain(runs={**before, **later, FRAME_PARSING: _parsing(run, CLASSIFIER_VISION), **last})


def sda_clips_park_to_photo_town() -> Chain:
    """`deixis train sda-clips-park-to-photo-town`: SDA from clips of painted parks to photo-like clips of towns.

    Time: docs/video.md. Score: docs/video.md.
    """
    return clip_sda(toyland_clips_transfer())


def _parsing(run: Run, vision: I3DConfig | ResNetConfig) -> Run:
    preprocess = replace(run.preprocess, num_frames=FRAMES if isinstance(vision, I3DConfig) else 1)
    schedule = Schedule(
        steps=700, batch_size=8, warm_up=30, decay="cosine", log_every=50, validate_every=700, save_every=50
    )
    return parsing_run(run, vision, preprocess, schedule)


def _after(name: str) -> StartFrom:
    return StartFrom(checkpoint=name, prefixes={"vision.": "vision."})
