"""SaG on Toyland: from pictures alone to a ViT, from sentences alone to both encoders and then to a segmenter."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.late_fusion import LateFusionConfig
from ..models.masked_autoencoder import MaskedAutoencoderConfig
from ..models.sag import SaGConfig
from ..objectives.masked_autoencoding import MaskedAutoencodingConfig
from ..objectives.supervised import SupervisedConfig
from ..objectives.text_supervision import TextSupervisionConfig
from ..records import MaskRule
from ..runs.data import ToylandData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..text.bert import BertConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from ..vision.vit import ViTConfig

PICTURES, BASE, SAG, LATE_FUSION = "pictures", "base", "sag", "late-fusion"  # names of Runs in the chains
VISION = ViTConfig(layers=4, width=128, heads=4, patch=8, grid=14, drop_path=0.0)
TEXT = BertConfig(layers=2, width=128, heads=4, feed_forward=384, vocabulary=1200, positions=40, dropout=0.0)
DATA = ToylandData(num_scenes=8_000, size=128, validation_limit=480, packed="runs/packed-128")
PREPROCESS = Preprocess(image_size=112, max_tokens=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
NO_DECAY = ("*norm*", "*Norm*", "*.bias")
# 32 images with 16 sentences each: the image encoder is most of a step's time, and a sentence teaches about one thing.
SCHEDULE = Schedule(steps=200, batch_size=512, warm_up=20, log_every=10, validate_every=100, save_every=50)
# Everything but the vectors that the slots start from, which the types of slots do not share.
SHARED = (
    *("vision.*", "text.*", "sentence.*", "patches.*", "fusion.*", "decoder.*"),
    *(f"discovery.{part}.*" for part in ("aggregation", "interaction", "output", "norm")),
)
SYSTEM = SaGConfig(
    vision=VISION,
    text=TEXT,
    width=96,
    gaussians=12,
    samples=2,
    heads=4,
    head_width=24,
    interaction_head_width=24,
    fusion_head_width=24,
    dropout=0.0,
    pooling="mean",
    sharpness=5.0,
)


def masked_autoencoder_toyland() -> Run:
    """`deixis train masked-autoencoder-toyland`: a ViT learns to paint removed patches of Toyland's pictures.

    Time: 29 minutes on one core in fp32, shared with other programs. Score: a mean squared error of 0.42 of removed
    patches, normalised, on val.
    """
    return Run(
        data=replace(DATA, labels="pictures", draw="image", sentences_per_image=1),
        system=MaskedAutoencoderConfig(vision=VISION),
        objective=MaskedAutoencodingConfig(),
        preprocess=PREPROCESS,
        optimiser=Optimiser(lr=2e-3, muon_lr=0.02, weight_decay=0.05, clip=1.0),
        schedule=Schedule(
            steps=900, batch_size=64, warm_up=50, decay="cosine", log_every=20, validate_every=300, save_every=100
        ),
        choose_best="loss",
        workers=0,
        description="An image encoder, trained to paint removed patches of Toyland's drawings.",
    )


def sag_toyland() -> Chain:
    """`deixis train sag-toyland`: SaG on Toyland's pictures and sentences; no mask is read.

    The ViT first learns from pictures alone (masked autoencoding). SaG is then trained on the sentences in two Runs:
    the first stands for the published ViT and BERT, which Toyland does not have, and variants of the second share it.
    The published rates and losses are for pre-trained giants. Here, chosen on Toyland: Muon 0.03 and AdamW 3e-3 (the
    encoders less), 32 images with 16, then 8 sentences each a step, temperature 0.2, the mean of all tokens as the
    sentence, sentences that are trained as targets too, attention scores times 5 (random weights leave them nearly
    equal), a quarter of the patches reconstructed, no dropout, no warm-up of the loss.
    Time: 29, 11 and 9 to 11 minutes on one core, shared with other programs. Score: mIoU 6.0, 6.0 and 6.5, three
    seeds of the last Run, on 100 scenes of toyland:val; a random entity has 3.5, the image's centre 3.9, late fusion
    with masks 24.2 (docs/sag.md).
    """
    base = Run(
        data=replace(DATA, labels="none", draw="sentence", sentences_per_image=16),
        system=SYSTEM,
        objective=TextSupervisionConfig(
            warmup_steps=0, temperature=0.2, detached=False, reconstructed=0.25, shared_images=True
        ),
        preprocess=PREPROCESS,
        mask_rule=MaskRule(kind="min-max", threshold=0.5),
        optimiser=Optimiser(
            lr=3e-3,
            muon_lr=0.03,
            weight_decay=0.02,
            no_decay=NO_DECAY,
            lr_multipliers={"vision.*": 0.4},
            clip=1.0,
            average=0.99,
        ),
        schedule=SCHEDULE,
        vocabulary=LEARNED,
        start_from=StartFrom(checkpoint=PICTURES, patterns=("vision.*",)),
        choose_best="loss",
        workers=0,
        description="SaG, trained on Toyland's sentences without masks; the start of the next one.",
    )
    run = replace(
        base,
        optimiser=replace(base.optimiser, lr_multipliers={"vision.*": 0.3, "text.*": 0.3}),
        data=replace(base.data, sentences_per_image=8),
        schedule=replace(SCHEDULE, steps=180, batch_size=256, validate_every=180),
        vocabulary=BASE,
        start_from=StartFrom(checkpoint=BASE, patterns=SHARED),
        description="SaG, trained on Toyland's sentences without masks.",
    )
    return Chain(runs={PICTURES: masked_autoencoder_toyland(), BASE: base, SAG: run})


def late_fusion_vit_toyland() -> Chain:
    """`deixis train late-fusion-vit-toyland`: full masks on the encoders and the start of `sag-toyland`, its ceiling.

    Time: 7 minutes after the first two Runs of `sag-toyland`. Score: mIoU 24.2 on 100 scenes of toyland:val.
    """
    chain = sag_toyland()
    sag = chain.runs[SAG]
    run = replace(
        sag,
        data=replace(sag.data, labels="masks"),
        system=LateFusionConfig(vit=VISION, text=TEXT, width=128),
        objective=SupervisedConfig(),
        mask_rule=MaskRule(),
        optimiser=replace(sag.optimiser, lr_multipliers={"fusion.vision.*": 0.3, "text.*": 0.3}),
        start_from=StartFrom(checkpoint=BASE, prefixes={"vision.": "fusion.vision.", "text.": "text."}),
        choose_best="mIoU",
        description="Words and patches that meet once, trained on Toyland's masks.",
    )
    return Chain(runs={PICTURES: chain.runs[PICTURES], BASE: chain.runs[BASE], LATE_FUSION: run})
