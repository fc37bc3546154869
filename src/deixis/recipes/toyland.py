"""What toyland's recipes share: a small text encoder, how they learn, how long, and the encoders they start from.

`late_fusion_toyland` comes before LAVT, VEGA and MagNet, and `examples/pretrain_vision.py` before that.
"""

from ..objectives.mask_grounding import GroundingConfig
from ..runs.initialise import ENCODERS, POINTING, StartFrom
from ..text.bert import BertConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule

TOY_TEXT = BertConfig(layers=3, width=128, heads=4, feed_forward=384, vocabulary=1200, positions=40, dropout=0.1)
# A warm-up, Muon's steps for matrices, clipped gradients, and the average of the weights is what is kept. At the full
# rate Muon unlearns in fifty steps what the pre-trained encoders know.
TOY_OPTIMISER = Optimiser(
    lr=8e-4,
    matrix_lr=0.005,
    weight_decay=0.02,
    no_decay=("*norm*", "*Norm*", "*.bias", "*.position_bias"),
    slow=("fusion.vision.*", "text.*"),
    slowness=0.15,
    clip=1.0,
    average=0.999,
)
TOY_SCHEDULE = Schedule(
    steps=20_000, batch_size=16, warm_up=500, power=0.9, log_every=50, validate_every=1000, save_every=250
)
TOY_START = StartFrom(checkpoint=POINTING, only=ENCODERS)
TOY_VOCABULARY = f"{POINTING}/vocab.txt"
# Naming a word costs seven nats at first, LAVT's and VEGA's mask two: with equal weights little else is learnt.
TOY_GROUNDING = GroundingConfig(layers=2, width=128, heads=4, feed_forward=256, weight=0.1)
