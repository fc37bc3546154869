"""SaG's recipes: segmenters that are trained from sentences alone."""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.sag import SaGConfig
from ..objectives.text_supervision import TextSupervisionConfig
from ..records import MaskRule
from ..runs.data import StoredData
from ..runs.run import Run, StartFrom
from ..training.optim import Optimiser
from ..training.schedule import Schedule


def sag_refcoco() -> Run:
    """`deixis train sag-refcoco --data.root DATA`: SaG on RefCOCO's sentences, as published.

    It starts from the published encoders: `--start-from.vit vit_small_patch16_384.safetensors --start-from.bert
    bert-base-uncased/model.safetensors`; so do the other recipes of SaG.
    Two sentences of one image may be in a batch, as published. Differs: masks never choose the epoch, and images are
    resized once.
    Time: not measured. Score: published mIoU 34.76 val, 34.58 testA, 35.01 testB; with DenseCRF 35.75, 35.52, 36.03.
    At a threshold of 0.3, 0.4, 0.6 and 0.7 val 32.58, 34.39, 33.57, 30.72 (Table A3).
    """
    return Run(
        data=_sentences("refcoco", "unc"),
        system=SaGConfig(),
        objective=TextSupervisionConfig(),
        preprocess=Preprocess(image_size=384, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), max_tokens=64),
        mask_rule=MaskRule(kind="min-max", threshold=0.5),
        optimiser=Optimiser(lr=1e-5, weight_decay=1e-4, lr_multipliers={"vision.*": 0.1}, clip=0.1),
        schedule=Schedule(epochs=50, batch_size=32, decay="cosine", decay_from=5000),
        start_from=StartFrom(required=True),
        choose_best="loss",
        workers=8,
        description="SaG, ViT-S/16 and BERT-base, trained on RefCOCO's sentences without masks, as published.",
    )


def sag_refcoco_plus() -> Run:
    """`deixis train sag-refcoco-plus --data.root DATA`: SaG on RefCOCO+'s sentences, as published.

    Time: not measured. Score: published mIoU 28.48 val, 28.60 testA, 27.98 testB; with DenseCRF 29.30, 29.41, 28.67.
    """
    run = sag_refcoco()
    return replace(
        run,
        data=_sentences("refcoco+", "unc"),
        description="SaG, ViT-S/16 and BERT-base, trained on RefCOCO+'s sentences without masks, as published.",
    )


def sag_gref_google() -> Run:
    """`deixis train sag-gref-google --data.root DATA`: SaG on G-Ref's sentences, Google's split, as published.

    Time: not measured. Score: published mIoU 28.87 val; with DenseCRF 30.02.
    """
    run = sag_refcoco()
    return replace(
        run,
        data=_sentences("refcocog", "google"),
        description="SaG, ViT-S/16 and BERT-base, trained on G-Ref's sentences (Google) without masks, as published.",
    )


def sag_phrasecut() -> Run:
    """`deixis train sag-phrasecut --data.root DATA`: SaG on PhraseCut's phrases.

    No script of this training was published; its settings are those of RefCOCO.
    Time: not measured. Score: published mIoU 33.45 val; with DenseCRF 35.67.
    """
    run = sag_refcoco()
    return replace(
        run,
        data=_sentences("phrasecut", None),
        description="SaG, ViT-S/16 and BERT-base, trained on PhraseCut's phrases without masks.",
    )


def sag_refcoco_t1() -> Run:
    """`deixis train sag-refcoco-t1 --data.root DATA`: SaG on RefCOCO with one iteration (Table A2).

    Other numbers of iterations are `deixis train sag-refcoco --system.iterations T`.
    Time: not measured. Score: published val mIoU 28.00; for T = 2, 4, 6, 8: 31.77, 33.24, 34.76, 33.85.
    """
    run = sag_refcoco()
    return replace(
        run,
        system=SaGConfig(iterations=1),
        description="SaG with one iteration of entity discovery, trained on RefCOCO's sentences without masks.",
    )


def sag_refcoco_random() -> Run:
    """`deixis train sag-refcoco-random --data.root DATA`: SaG on RefCOCO with random slots (Figure A3).

    Groups of three slots interact, as published; `--system.one-group` lets all of them.
    Time: not measured. Score: not published as a number.
    """
    run = sag_refcoco()
    return replace(
        run,
        system=SaGConfig(slots="random"),
        description="SaG with random slots, trained on RefCOCO's sentences without masks.",
    )


def sag_refcoco_query() -> Run:
    """`deixis train sag-refcoco-query --data.root DATA`: SaG on RefCOCO with query slots (Figure A3).

    Time: not measured. Score: not published as a number.
    """
    run = sag_refcoco()
    return replace(
        run,
        system=SaGConfig(slots="query"),
        description="SaG with query slots, trained on RefCOCO's sentences without masks.",
    )


def sag_own() -> Run:
    """`deixis train sag-own --data.root mine`: SaG on your own pairs of image and sentence.

    The pairs are a folder of images with `data.jsonl`. No image is twice in a batch.
    Time: not measured. Score: not measured.
    """
    run = sag_refcoco()
    return replace(
        run,
        data=StoredData(root="mine", labels="none", draw="sentence", distinct_images=True),
        description="SaG, ViT-S/16 and BERT-base, trained on your own pairs of image and sentence.",
    )


def _sentences(dataset: str, split_by: str | None) -> StoredData:
    """Every sentence of an epoch with its image; an image may be twice in a batch, as published."""
    return StoredData(
        dataset=dataset, split_by=split_by, labels="none", draw="sentence", sentences="sent", overlaps="union"
    )
