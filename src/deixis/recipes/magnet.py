"""MagNet's recipes: the paper's, and one in a size that trains on a laptop; all of them with mask grounding."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.magnet import MagNetConfig
from ..objectives.mask_grounding import GroundingConfig
from ..runs.data import StoredData, ToylandData
from ..runs.initialise import StartFrom
from ..runs.run import Run
from ..training.optim import Optimiser
from ..training.schedule import Schedule
from .scene_parsing import TOYLAND_VISION
from .toyland import TOY_GROUNDING, TOY_OPTIMISER, TOY_SCHEDULE, TOY_START, TOY_TEXT, TOY_VOCABULARY
from .vega import NO_DECAY


def magnet_refcoco() -> Run:
    """`deixis train magnet-refcoco --data.root DATA`: MagNet on RefCOCO, as published.

    The published encoders come first: `--start-from.swin swin_base_patch4_window12_384_22k.pth --start-from.bert
    bert-base-uncased/model.safetensors`; the other data sets' recipes start from them too.
    Published oIoU 75.24 val, 78.24 testA, 71.05 testB. Time: not measured by us.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=MagNetConfig(presence=False),  # here every referent is there, so a class head would learn to say that
        preprocess=Preprocess(image_size=480, max_tokens=20),
        optimiser=Optimiser(lr=5e-5, weight_decay=0.01, no_decay=NO_DECAY),
        schedule=Schedule(epochs=40, batch_size=32, power=0.9),
        grounding=GroundingConfig(),
        start_from=StartFrom(needed=True),
        workers=8,
        description="MagNet, Swin-B and BERT-base, trained on RefCOCO as published.",
    )


def magnet_refcoco_plus() -> Run:
    """`deixis train magnet-refcoco-plus --data.root DATA`: MagNet on RefCOCO+, as published.

    Published oIoU 66.16 val, 71.32 testA, 58.14 testB. Time: not measured by us.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcoco+", split_by="unc"),
        description="MagNet, Swin-B and BERT-base, trained on RefCOCO+ as published.",
    )


def magnet_gref_umd() -> Run:
    """`deixis train magnet-gref-umd --data.root DATA`: MagNet on G-Ref, UMD's split, as published.

    Published oIoU 65.36 val, 66.03 test. Time: not measured by us.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcocog", split_by="umd"),
        description="MagNet, Swin-B and BERT-base, trained on G-Ref (UMD) as published.",
    )


def magnet_gref_google() -> Run:
    """`deixis train magnet-gref-google --data.root DATA`: MagNet on G-Ref, Google's split, as published.

    Published oIoU 63.13 val. Time: not measured by us.
    """
    return replace(
        magnet_refcoco(),
        data=StoredData(dataset="refcocog", split_by="google"),
        description="MagNet, Swin-B and BERT-base, trained on G-Ref (Google) as published.",
    )


def magnet_toyland() -> Run:
    """`deixis train magnet-toyland`: a small MagNet on all three registers of Toyland, without any download.

    Same encoders and budget as `vega-toyland`, and among the data sentences that mean nothing in their scene; the text
    encoder has a fourth layer, for MagNet reads in four steps. As measured without such sentences, 300 steps of 16 at
    128 pixels and 20 words gave mIoU 0.51 on held-out ones, without mask grounding 0.55 (docs/magnet.md).
    """
    return Run(
        data=ToylandData(no_target=1.5, packed="runs/packed-nothing"),  # the class head learns from what is absent
        system=MagNetConfig(
            vision=TOYLAND_VISION,
            text=replace(TOY_TEXT, layers=4),
            width=64,
            mask_width=64,
            heads=4,
            pixel_layers=2,
            pixel_points=2,
            pixel_feed_forward=128,
            query_layers=3,
            query_feed_forward=256,
        ),
        preprocess=Preprocess(image_size=256, max_tokens=32),
        # The fourth text layer is new: no pre-trained encoder has it.
        optimiser=replace(
            TOY_OPTIMISER, slow=("fusion.vision.*", "text.bert.embeddings.*", "text.bert.encoder.layer.[012].*")
        ),
        schedule=TOY_SCHEDULE,
        vocabulary=TOY_VOCABULARY,
        start_from=TOY_START,
        grounding=replace(TOY_GROUNDING, weight=1.0),  # beside eight weighted terms of masks
        description="A small MagNet, trained on Toyland's drawings.",
    )
