"""The recipe of the small model for photographs."""

from ..data.transforms import Preprocess
from ..models.proposal_matching import ProposalMatchingConfig
from ..runs.data import StoredData
from ..runs.run import LEARNED, Run, StartFrom
from ..training.optim import Optimiser
from ..training.schedule import Schedule


def photos() -> Run:
    """`deixis train photos --data.root DATA --start-from.nanodet FILE`: words choose among a detector's proposals.

    DATA is what `deixis data describe` writes of COCO's annotations (docs/photos.md). The detector is not trained.

    Time: about 40 minutes of one core. Score: mIoU 38 on held-out template sentences, 39 on 71 that people wrote.
    """
    return Run(
        data=StoredData(draw="sentence", sentences_per_image=8, validation_limit=400),
        system=ProposalMatchingConfig(),
        preprocess=Preprocess(image_size=384, max_tokens=16, fit="pad"),
        optimiser=Optimiser(
            lr=3e-3,
            weight_decay=0.02,
            no_decay=("*norm*", "*.bias", "*.gain", "nothing"),
            frozen=("detector.*",),
            lr_multipliers={"neck.*": 0.3, "outline.*": 0.3},
            clip=1.0,
            average=0.995,
        ),
        schedule=Schedule(
            steps=700, batch_size=128, warm_up=40, decay="cosine", log_every=10, validate_every=350, save_every=50
        ),
        vocabulary=LEARNED,
        start_from=StartFrom(required=True),
        workers=1,
        description="A detector's proposals, chosen by words: trained on sentences made from COCO's annotations.",
    )
