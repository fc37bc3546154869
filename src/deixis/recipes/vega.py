"""VEGA's recipes: the published ones, and chains of a size that trains on a laptop."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.late_fusion import LateFusionConfig
from ..models.vega import VEGAConfig
from ..objectives.presence import PresenceConfig
from ..runs.data import StoredData, ToylandData
from ..runs.run import LEARNED, Chain, Run, StartFrom
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from .toyland import DATA, GROUNDING, LATE_FUSION, OPTIMISER, PREPROCESS, SCHEDULE, START, TEXT, VISION, pretrained

NO_DECAY = ("fusion.*norm*", "*.position_bias")
# All weights but the presence head's.
WITHOUT_HEAD = ("text.*", "fusion.*", "pixels.*", "words.*", "guide.*", "look.*", "stages.*", "mask.*", "log_*")
SMALL = VEGAConfig(vision=VISION, text=TEXT, width=128, heads=4, decoder_widths=(32, 64, 128), dice_weight=1.0)


def vega_refcoco() -> Run:
    """`deixis train vega-refcoco --data.root DATA`: VEGA on RefCOCO, as published.

    It starts from the published encoders: `--start-from.swin swin_base_patch4_window12_384_22k.pth --start-from.bert
    bert-base-uncased/model.safetensors`; so do the recipes of the other data sets.
    Time: not measured. Score: published oIoU 75.35 val, 77.97 testA, 71.94 testB.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=VEGAConfig(),
        preprocess=Preprocess(image_size=480, max_tokens=21),
        optimiser=Optimiser(lr=3e-5, weight_decay=0.01, no_decay=NO_DECAY),
        schedule=Schedule(epochs=40, batch_size=16, power=0.9),
        start_from=StartFrom(required=True),
        workers=8,
        description="VEGA, Swin-B and BERT-base, trained on RefCOCO as published.",
    )


def vega_refcoco_plus() -> Run:
    """`deixis train vega-refcoco-plus --data.root DATA`: VEGA on RefCOCO+, as published.

    Time: not measured. Score: published oIoU 66.70 val, 72.08 testA, 59.85 testB.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcoco+", split_by="unc"),
        description="VEGA, Swin-B and BERT-base, trained on RefCOCO+ as published.",
    )


def vega_gref_umd() -> Run:
    """`deixis train vega-gref-umd --data.root DATA`: VEGA on G-Ref, UMD's split, as published.

    Time: not measured. Score: published oIoU 65.78 val, 66.93 test.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcocog", split_by="umd"),
        description="VEGA, Swin-B and BERT-base, trained on G-Ref (UMD) as published.",
    )


def vega_gref_google() -> Run:
    """`deixis train vega-gref-google --data.root DATA`: VEGA on G-Ref, Google's split, as published.

    Time: not measured. Score: published oIoU 63.49 val.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcocog", split_by="google"),
        description="VEGA, Swin-B and BERT-base, trained on G-Ref (Google) as published.",
    )


def vega_toyland() -> Chain:
    """`deixis train vega-toyland`: A small VEGA on all three subsets of Toyland, without any download.

    The last run is the longest: 3,000 of its steps were measured to take 62 minutes on two cores (docs/vega.md).

    Time: not measured. Score: not measured.
    """
    return pretrained("vega", _small())


def vega_toyland_grounded() -> Chain:
    """`deixis train vega-toyland-grounded`: VEGA on Toyland as `vega-toyland`, with mask grounding.

    A step was measured to take 7 % longer at 256 pixels and at 128; after 300 steps of 16 the mIoU was 0.33 with mask
    grounding and 0.38 without (docs/magnet.md).

    Time: not measured. Score: not measured.
    """
    run = replace(
        _small(), objective=GROUNDING, description="A small VEGA, trained on Toyland's drawings with mask grounding."
    )
    return pretrained("vega", run)


def vega_small() -> Run:
    """`deixis train vega-small --data.root DATA`: VEGA of the bundled model's size, on your own masks.

    Nothing is downloaded: the image encoder starts from the bundled model's, and the vocabulary is learned from your
    sentences. It is meant for a first look: 150 steps on 88 photographs were measured to give a mean IoU of 5 % on
    others.

    Time: not measured. Score: not measured.
    """
    small = _small()
    return replace(
        small,
        data=StoredData(sentences_per_image=4),
        system=replace(SMALL, text=replace(TEXT, vocabulary=4000)),
        preprocess=replace(PREPROCESS, image_size=256),
        schedule=replace(SCHEDULE, steps=20_000, batch_size=16, warm_up=500, validate_every=1_000),
        optimiser=replace(OPTIMISER, lr=8e-4, muon_lr=0.005, lr_multipliers={"fusion.vision.*": 0.15, "text.*": 0.15}),
        vocabulary=LEARNED,
        start_from=StartFrom(checkpoint="bundled", patterns=("fusion.vision.*",)),
        description="A small VEGA, trained on its user's own masks and sentences.",
    )


def vega_toyland_presence() -> Run:
    """`deixis train vega-toyland-presence`: A presence head for the bundled model, whose masks stay as they are.

    Two in five sentences refer to nothing; most of these differ in one word from a sentence that refers to something.
    The scenes are new to the bundled model, and so are those of its scores to this training.

    Time: 15 minutes on one core. Score: for the bundled model of before 2026-11-30, MCC 0.58 on 8,010 pairs of
    sentences, AUROC 0.86.
    """
    return Run(
        data=replace(
            DATA,
            num_scenes=1_000,
            skip_scenes=20_000,
            no_target=1.5,
            exchanged=4.0,
            validate_absent=True,
            validation_limit=400,
            packed="runs/packed-exchanged",
        ),
        system=replace(SMALL, presence=True),
        objective=PresenceConfig(weigh_by_iou=True),
        preprocess=PREPROCESS,
        optimiser=Optimiser(lr=1e-3, weight_decay=0.05, no_decay=("*norm*", "*.bias"), clip=1.0, average=0.998),
        schedule=Schedule(steps=900, batch_size=32, warm_up=60, decay="cosine", validate_every=450, save_every=150),
        vocabulary="bundled",
        start_from=StartFrom(checkpoint="bundled", patterns=WITHOUT_HEAD),
        choose_best="presence",
        description="A small VEGA, trained on Toyland's drawings, with a presence head.",
    )


def vega_toyland_rare() -> Chain:
    """`deixis train vega-toyland-rare`: The bundled model trained further, on more of the sentences that it fails on.

    These count from a side or negate a colour. VEGA alone learns them slowly; its encoders first learn what the words
    mean in late fusion, which trains several times as many sentences a second. Then masks and presence head are trained
    together: two in five sentences refer to nothing, most of these by one exchanged word.

    Time: 20 minutes of one core, and 47 of one to two, in bf16. Score: from the bundled model of before 2026-11-30,
    P@0.5 of ordinals rose from 21 to 50, of negations from 29 to 79; mIoU on `toyland:val` fell from 76.8 to 76.5.
    """
    data = replace(DATA, skip_scenes=40_000)
    words = Run(
        data=replace(
            data,
            num_scenes=2_500,
            sentences_per_object=4,
            sentences_per_image=24,
            rare=1.0,
            packed="runs/packed-rare-words",
        ),
        system=LateFusionConfig(vision=VISION, text=TEXT, width=128),
        preprocess=PREPROCESS,
        optimiser=replace(OPTIMISER, lr_multipliers={"fusion.vision.*": 0.5}, average=0.99),
        schedule=replace(SCHEDULE, steps=600, batch_size=192, warm_up=50, validate_every=300),
        vocabulary="bundled",
        start_from=StartFrom(encoders="bundled"),
        description="Words and pixels that meet once, trained on Toyland's rare sentences.",
    )
    vega = _further(
        replace(data, num_scenes=4_000, no_target=1.0, exchanged=4.0, rare=0.7, packed="runs/packed-rare"),
        steps=2_000,
        start_from=StartFrom(checkpoint="bundled", encoders=LATE_FUSION),
    )
    return Chain(runs={LATE_FUSION: words, "vega": vega})


def vega_toyland_counting() -> Run:
    """`deixis train vega-toyland-counting`: The bundled model trained further, on sentences that count from a side.

    Late fusion did not learn to count, so VEGA trains alone. Toyland+ has no such sentences and is left out. Of those
    with a referent 30 % count, and a third of all sentences have none.

    Time: 90 minutes on two cores in bf16. Score: after `vega-toyland-rare`, P@0.5 of ordinals rose from 50 to 68, of
    negations from 79 to 93, and mIoU on `toyland:val` from 76.5 to 77.8; this is the bundled model.
    """
    data = replace(
        DATA,
        subsets=("toyland", "toyland-g"),
        num_scenes=5_000,
        skip_scenes=60_000,
        no_target=0.6,
        exchanged=3.0,
        rare=0.85,
        validation_limit=240,
        packed="runs/packed-rare",
    )
    return _further(data, steps=4_300, start_from=StartFrom(checkpoint="bundled"))


def _further(data: ToylandData, steps: int, start_from: StartFrom) -> Run:
    """The bundled model's masks and presence head, trained together."""
    return Run(
        data=data,
        system=replace(SMALL, presence=True),
        preprocess=PREPROCESS,
        optimiser=replace(
            OPTIMISER, lr=5e-4, muon_lr=0.003, lr_multipliers={"fusion.vision.*": 0.5, "text.*": 0.5}, average=0.998
        ),
        schedule=replace(SCHEDULE, steps=steps),
        vocabulary="bundled",
        start_from=start_from,
        description="A small VEGA, trained on Toyland's drawings, with a presence head.",
    )


def _small() -> Run:
    return Run(
        data=DATA,
        system=SMALL,
        preprocess=PREPROCESS,
        optimiser=OPTIMISER,
        schedule=SCHEDULE,
        vocabulary=LATE_FUSION,
        start_from=START,
        description="A small VEGA, trained on Toyland's drawings.",
    )
