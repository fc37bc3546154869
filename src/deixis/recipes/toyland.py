"""What the Toyland recipes share: two small encoders, their pre-training, and the budget of a system.

A system's recipe is a chain: `scene-parsing` teaches the image encoder what each pixel shows, `late-fusion` teaches
both encoders which words describe which pixels, and the system starts from these encoders.
"""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.late_fusion import LateFusionConfig
from ..models.scene_parsing import SceneParsingConfig
from ..objectives.dense_classes import DenseClassesConfig
from ..objectives.mask_grounding import MaskGroundingConfig
from ..runs.data import ToylandData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.bert import BertConfig
from ..toyland.scene_classes import ATTRIBUTES
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..vision.swin import SwinConfig

SCENE_PARSING, LATE_FUSION = "scene-parsing", "late-fusion"  # the names of the pre-training Runs in a chain
VISION = SwinConfig(embed_dim=32, depths=(2, 2, 4, 2), heads=(1, 2, 4, 8), window=8, drop_path=0.05, coordinates=True)
TEXT = BertConfig(layers=3, width=128, heads=4, feed_forward=384, vocabulary=1200, positions=40, dropout=0.1)
DATA = ToylandData(num_scenes=12_000, validation_limit=480)
# A warm-up, Muon for matrices, clipped gradients; the average of the weights is scored and published. At the full rate
# Muon destroys in fifty steps what the encoders learned before.
OPTIMISER = Optimiser(
    lr=1e-3,
    muon_lr=0.006,
    weight_decay=0.02,
    no_decay=("*norm*", "*Norm*", "*.bias", "*.position_bias"),
    lr_multipliers={"fusion.vision.*": 0.3, "text.*": 0.3},
    clip=1.0,
    average=0.999,
)
PREPROCESS = Preprocess(image_size=192, max_tokens=32)
SCHEDULE = Schedule(steps=8_000, batch_size=32, warm_up=80, log_every=50, validate_every=500, save_every=250)
START = StartFrom(checkpoint=LATE_FUSION, patterns=("text.*", "fusion.vision.*"))
# Guessing a word costs seven nats at first, LAVT's and VEGA's mask two: with equal weights little else is learned.
GROUNDING = MaskGroundingConfig(layers=2, width=128, heads=4, feed_forward=256, weight=0.1)


def scene_parsing_toyland() -> Run:
    """`deixis train scene-parsing-toyland`: Swin learns the kind, colour, size and pattern of every pixel of Toyland.

    Time: 22 minutes on one core in bf16 (an earlier version). Score: kinds 0.89 to 0.92, colours 0.96 of the pixels of
    things (an earlier version).
    """
    return Run(
        data=replace(DATA, labels="classes", validation_limit=None),
        system=SceneParsingConfig(
            vision=VISION, attributes=tuple((name, len(values)) for name, values in ATTRIBUTES.items())
        ),
        objective=DenseClassesConfig(),
        preprocess=Preprocess(image_size=128),
        optimiser=Optimiser(lr=2e-3, muon_lr=0.02, weight_decay=0.05, clip=1.0),
        schedule=Schedule(
            steps=3_000, batch_size=16, warm_up=150, decay="cosine", log_every=50, validate_every=500, save_every=250
        ),
        choose_best="loss",
        description="An image encoder, trained to parse Toyland's drawings.",
    )


def late_fusion_toyland() -> Chain:
    """`deixis train late-fusion-toyland`: Both encoders on all of Toyland, 24 sentences for each image.

    Time: 22 minutes on one core, then 22 on two, in bf16 (an earlier version). Score: mIoU 0.60 in the training loop
    (an earlier version).
    """
    run = Run(
        data=replace(DATA, sentences_per_image=24),
        system=LateFusionConfig(vision=VISION, text=TEXT, width=128),
        preprocess=Preprocess(image_size=128, max_tokens=32),
        # The words are new here, and the image encoder meets words for the first time.
        optimiser=replace(OPTIMISER, muon_lr=0.007, lr_multipliers={"fusion.vision.*": 0.2}),
        schedule=Schedule(steps=1_500, batch_size=192, warm_up=50, log_every=20, validate_every=200, save_every=100),
        vocabulary=LEARNED,
        start_from=StartFrom(checkpoint=SCENE_PARSING, prefixes={"vision.": "fusion.vision."}),
        description="Words and pixels that meet once, trained on Toyland's drawings.",
    )
    return Chain(runs={SCENE_PARSING: scene_parsing_toyland(), LATE_FUSION: run})


def pretrained(name: str, run: Run) -> Chain:
    """The chain of a system: its Run after the two that train its encoders."""
    return Chain(runs={**late_fusion_toyland().runs, name: run})
