"""VEGA's recipes: the paper's, and one in a size that trains on a laptop."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.vega import VEGAConfig
from ..runs.data import StoredData, ToylandData
from ..runs.initialise import StartFrom
from ..runs.run import LEARNED, Run
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from .scene_parsing import TOYLAND_VISION
from .toyland import TOY_GROUNDING, TOY_OPTIMISER, TOY_SCHEDULE, TOY_START, TOY_TEXT, TOY_VOCABULARY

NO_DECAY = ("fusion.*norm*", "*.position_bias")


def vega_refcoco() -> Run:
    """`deixis train vega-refcoco --data.root DATA`: VEGA on RefCOCO, as published.

    The published encoders come first: `--start-from.swin swin_base_patch4_window12_384_22k.pth --start-from.bert
    bert-base-uncased/model.safetensors`; the other data sets' recipes start from them too.
    Published oIoU 75.35 val, 77.97 testA, 71.94 testB (Table 1). Time: not measured by us.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=VEGAConfig(),
        preprocess=Preprocess(image_size=480, max_tokens=21),
        optimiser=Optimiser(lr=3e-5, weight_decay=0.01, no_decay=NO_DECAY),
        schedule=Schedule(epochs=40, batch_size=16, power=0.9),
        start_from=StartFrom(needed=True),
        workers=8,
        description="VEGA, Swin-B and BERT-base, trained on RefCOCO as published.",
    )


def vega_refcoco_plus() -> Run:
    """`deixis train vega-refcoco-plus --data.root DATA`: VEGA on RefCOCO+, as published.

    Published oIoU 66.70 val, 72.08 testA, 59.85 testB (Table 1). Time: not measured by us.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcoco+", split_by="unc"),
        description="VEGA, Swin-B and BERT-base, trained on RefCOCO+ as published.",
    )


def vega_gref_umd() -> Run:
    """`deixis train vega-gref-umd --data.root DATA`: VEGA on G-Ref, UMD's split, as published.

    Published oIoU 65.78 val, 66.93 test (Table 1). Time: not measured by us.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcocog", split_by="umd"),
        description="VEGA, Swin-B and BERT-base, trained on G-Ref (UMD) as published.",
    )


def vega_gref_google() -> Run:
    """`deixis train vega-gref-google --data.root DATA`: VEGA on G-Ref, Google's split, as published.

    Published oIoU 63.49 val (Table 1). Time: not measured by us.
    """
    return replace(
        vega_refcoco(),
        data=StoredData(dataset="refcocog", split_by="google"),
        description="VEGA, Swin-B and BERT-base, trained on G-Ref (Google) as published.",
    )


def vega_toyland() -> Run:
    """`deixis train vega-toyland`: a small VEGA on all three registers of Toyland, without any download.

    `deixis train late-fusion-toyland` comes first. As measured, 1,900 steps of 32 at 128 pixels took 28 minutes on one
    core under bf16 and gave mIoU 0.625 in the training loop; 8,300 more, the last 4,700 at 192 pixels and 3,000 of them
    with encoders that tell left from right, gave 0.752. docs/vega.md has the whole commands.
    """
    return Run(
        data=ToylandData(),
        system=VEGAConfig(
            vision=TOYLAND_VISION,
            text=TOY_TEXT,
            width=128,
            heads=4,
            decoder_widths=(32, 64, 128),
            dice_weight=1.0,
        ),
        preprocess=Preprocess(image_size=256, max_tokens=32),
        optimiser=TOY_OPTIMISER,
        schedule=TOY_SCHEDULE,
        vocabulary=TOY_VOCABULARY,
        start_from=TOY_START,
        description="A small VEGA, trained on Toyland's drawings.",
    )


def vega_small() -> Run:
    """`deixis train vega-small --data.root DATA`: VEGA of the embedded model's size, on your own masks.

    Nothing is downloaded: its image encoder begins as the embedded model's, its words are those of your sentences. For
    a first look: 150 steps on 88 photographs, as measured, found things in others with a mean IoU of 5 %.
    """
    drawings = vega_toyland()
    return replace(
        drawings,
        data=StoredData(sentences_per_image=4),
        system=replace(drawings.system, text=replace(TOY_TEXT, vocabulary=4000)),
        vocabulary=LEARNED,
        start_from=StartFrom(checkpoint="embedded", only=("fusion.vision.*",)),
        description="A small VEGA, trained on its user's own masks and sentences.",
    )


def vega_toyland_grounded() -> Run:
    """`deixis train vega-toyland-grounded`: VEGA on Toyland as `vega-toyland`, with mask grounding.

    A step was measured to take 7 % longer at 256 pixels and at 128; after 300 steps of 16 mIoU was 0.33 with mask
    grounding, 0.38 without (docs/magnet.md).
    """
    return replace(
        vega_toyland(),
        grounding=TOY_GROUNDING,
        description="A small VEGA, trained on Toyland's drawings with mask grounding.",
    )
