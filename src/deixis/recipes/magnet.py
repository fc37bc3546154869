"""MagNet's recipes: the published ones, and a chain of a size that trains on a laptop; all with mask grounding."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.magnet import MagNetConfig
from ..objectives.mask_grounding import MaskGroundingConfig
from ..runs.data import StoredData
from ..runs.run import Chain, Run, StartFrom
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from .toyland import DATA, GROUNDING, LATE_FUSION, OPTIMISER, PREPROCESS, SCHEDULE, START, TEXT, VISION, pretrained
from .vega import NO_DECAY


def magnet_refcoco() -> Run:
    """`deixis train magnet-refcoco --data.root DATA`: MagNet on RefCOCO, as published.

    It starts from the published encoders: `--start-from.swin swin_base_patch4_window12_384_22k.pth --start-from.bert
    bert-base-uncased/model.safetensors`; so do the recipes of the other data sets.
    Time: not measured. Score: published oIoU 75.24 val, 78.24 testA, 71.05 testB.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=MagNetConfig(presence=False),  # every referent is in the image, so the head would learn a constant
        preprocess=Preprocess(image_size=480, max_tokens=20),
        optimiser=Optimiser(lr=5e-5, weight_decay=0.01, no_decay=NO_DECAY),
        schedule=Schedule(epochs=40, batch_size=32, power=0.9),
        objective=MaskGroundingConfig(),
        start_from=StartFrom(required=True),
        workers=8,
        description="MagNet, Swin-B and BERT-base, trained on RefCOCO as published.",
    )


def magnet_refcoco_plus() -> Run:
    """`deixis train magnet-refcoco-plus --data.root DATA`: MagNet on RefCOCO+, as published.

    Time: not measured. Score: published oIoU 66.16 val, 71.32 testA, 58.14 testB.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcoco+", split_by="unc"),
        description="MagNet, Swin-B and BERT-base, trained on RefCOCO+ as published.",
    )


def magnet_gref_umd() -> Run:
    """`deixis train magnet-gref-umd --data.root DATA`: MagNet on G-Ref, UMD's split, as published.

    Time: not measured. Score: published oIoU 65.36 val, 66.03 test.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcocog", split_by="umd"),
        description="MagNet, Swin-B and BERT-base, trained on G-Ref (UMD) as published.",
    )


def magnet_gref_google() -> Run:
    """`deixis train magnet-gref-google --data.root DATA`: MagNet on G-Ref, Google's split, as published.

    Time: not measured. Score: published oIoU 63.13 val.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcocog", split_by="google"),
        description="MagNet, Swin-B and BERT-base, trained on G-Ref (Google) as published.",
    )


def magnet_toyland() -> Chain:
    """`deixis train magnet-toyland`: A small MagNet on all three subsets of Toyland, without any download.

    Encoders and budget are those of `vega-toyland`; some sentences refer to nothing in their scene. The text encoder
    has a fourth layer, because MagNet reads it in four steps. Without such sentences, 300 steps of 16 at 128 pixels and
    20 tokens were measured to give an mIoU of 0.51, and 0.55 without mask grounding (docs/magnet.md).

    Time: not measured. Score: not measured.
    """
    run = Run(
        # The presence head learns from sentences about what is absent.
        data=replace(DATA, no_target=1.5, packed="runs/packed-nothing"),
        system=MagNetConfig(
            vision=VISION,
            text=replace(TEXT, layers=4),
            width=64,
            mask_width=64,
            heads=4,
            pixel_layers=2,
            pixel_points=2,
            pixel_feed_forward=128,
            query_layers=3,
            query_feed_forward=256,
        ),
        objective=replace(GROUNDING, weight=1.0),  # beside eight weighted terms of masks
        preprocess=PREPROCESS,
        # The fourth text layer is new: no pre-trained encoder has it.
        optimiser=replace(
            OPTIMISER,
            lr_multipliers={
                "fusion.vision.*": 0.3,
                "text.bert.embeddings.*": 0.3,
                "text.bert.encoder.layer.[012].*": 0.3,
            },
        ),
        schedule=SCHEDULE,
        vocabulary=LATE_FUSION,
        start_from=START,
        description="A small MagNet, trained on Toyland's drawings.",
    )
    return pretrained("magnet", run)
