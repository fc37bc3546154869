"""The recipe that teaches Toyland's words and pixels to know each other, before any system fuses them."""

from ..data.transforms import Preprocess
from ..models.pointing import PointingConfig
from ..train.schedule import Schedule
from .parsing import TOYLAND_VISION
from .run import LEARNED, Run
from .sources import ToylandData
from .vega import TOY_OPTIMISER, TOY_START, TOY_TEXT


def pointing_toyland() -> Run:
    """`deixis train pointing-toyland`: both encoders on all three registers of Toyland, 24 sentences an image.

    `python examples/pretrain_vision.py runs/packed/train runs/parsing` comes first; LAVT, VEGA and MagNet can start
    from what this leaves: `--start-from.checkpoint runs/pointing-toyland/last --start-from.put ""
    --start-from.only "text.*" "fusion.vision.*" --vocabulary runs/pointing-toyland/last/vocab.txt`.
    """
    return Run(
        data=ToylandData(sentences_per_image=24),
        system=PointingConfig(vision=TOYLAND_VISION, text=TOY_TEXT, width=128),
        preprocess=Preprocess(image_size=128, max_words=32),
        optimiser=TOY_OPTIMISER,
        schedule=Schedule(
            steps=4000, batch_size=192, warm_up=100, power=0.9, log_every=25, validate_every=500, save_every=250
        ),
        vocabulary=LEARNED,
        start_from=TOY_START,
        description="Words and pixels that meet once, trained on Toyland's drawings.",
    )
