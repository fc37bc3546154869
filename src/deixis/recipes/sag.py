"""SaG's recipes: segmenters that are trained from sentences alone.

Scores are the published ones, in mIoU unless another measure is named. After training, `deixis evaluate RUN --data DATA
--protocol weak --dataset refcoco --split val` measures them, on testA and testB by `--split`. With `--refine crf` the
same command gives the numbers with DenseCRF (Table A4), whose parameters were not published. The published evaluation
draws the slots' noise at each prediction and averages three runs; here predictions start from the means unless a run is
trained with `--system.noise sample`.
"""

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
    Time: not measured. Score: published mIoU 34.76 val, 34.58 testA, 35.01 testB; with DenseCRF 35.75, 35.52, 36.03
    (`--refine crf`). On val A@0.3 55.02, A@0.5 24.99, A@0.7 6.35, oIoU 30.40 (Table A2).
    Table A3, mIoU on val by `--threshold`: 0.3: 32.58, 0.4: 34.39, 0.5: 34.76, 0.6: 33.57, 0.7: 30.72.
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

    Time: not measured. Score: published mIoU 28.48 val, 28.60 testA, 27.98 testB; with DenseCRF 29.30, 29.41, 28.67
    (`deixis evaluate RUN --protocol weak --data DATA --dataset refcoco+ --split val`, with `--refine crf`).
    """
    run = sag_refcoco()
    return replace(
        run,
        data=_sentences("refcoco+", "unc"),
        description="SaG, ViT-S/16 and BERT-base, trained on RefCOCO+'s sentences without masks, as published.",
    )


def sag_gref_google() -> Run:
    """`deixis train sag-gref-google --data.root DATA`: SaG on G-Ref's sentences, Google's split, as published.

    Time: not measured. Score: published mIoU 28.87 val; with DenseCRF 30.02 (`deixis evaluate RUN --protocol weak
    --data DATA --dataset refcocog --split-by google --split val`, with `--refine crf`).
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
    Time: not measured. Score: published mIoU 33.45 val; with DenseCRF 35.67 (`deixis evaluate RUN --protocol weak
    --data DATA --dataset phrasecut --split val`, with `--refine crf`).
    """
    run = sag_refcoco()
    return replace(
        run,
        data=_sentences("phrasecut", None),
        description="SaG, ViT-S/16 and BERT-base, trained on PhraseCut's phrases without masks.",
    )


def sag_refcoco_t1() -> Run:
    """`deixis train sag-refcoco-t1 --data.root DATA`: SaG on RefCOCO with one iteration (Table A2).

    Whether the published table trained a model for each number of iterations is not said; `sag-refcoco` is T = 6.
    Time: not measured. Score: published val mIoU 28.00, oIoU 25.11, A@0.3 40.36, A@0.5 12.93, A@0.7 2.73.
    """
    return _with_iterations(1, "one iteration")


def sag_refcoco_t2() -> Run:
    """`deixis train sag-refcoco-t2 --data.root DATA`: SaG on RefCOCO with two iterations (Table A2).

    Time: not measured. Score: published val mIoU 31.77, oIoU 27.67, A@0.3 48.40, A@0.5 19.92, A@0.7 5.09.
    """
    return _with_iterations(2, "two iterations")


def sag_refcoco_t4() -> Run:
    """`deixis train sag-refcoco-t4 --data.root DATA`: SaG on RefCOCO with four iterations (Table A2).

    Time: not measured. Score: published val mIoU 33.24, oIoU 28.95, A@0.3 52.03, A@0.5 22.55, A@0.7 5.85.
    """
    return _with_iterations(4, "four iterations")


def sag_refcoco_t8() -> Run:
    """`deixis train sag-refcoco-t8 --data.root DATA`: SaG on RefCOCO with eight iterations (Table A2).

    Time: not measured. Score: published val mIoU 33.85, oIoU 29.38, A@0.3 53.08, A@0.5 23.30, A@0.7 5.98.
    """
    return _with_iterations(8, "eight iterations")


def sag_refcoco_random() -> Run:
    """`deixis train sag-refcoco-random --data.root DATA`: SaG on RefCOCO with random slots (Figure A3).

    Groups of three slots interact, as published; `--system.one-group True` lets all of them. Predictions draw noise,
    because all random slots have one mean: without noise they are equal.
    Time: not measured. Score: not published as a number.
    """
    run = sag_refcoco()
    return replace(
        run,
        system=SaGConfig(slots="random", noise="sample"),
        description="SaG with random slots, trained on RefCOCO's sentences without masks.",
    )


def sag_refcoco_random_narrow() -> Run:
    """`deixis train sag-refcoco-random-narrow --data.root DATA`: random slots with the spread of entity slots.

    The published random slots differ from entity slots in the number of Gaussians and in their spread; these in the
    number alone. Time: not measured. Score: not published.
    """
    run = sag_refcoco_random()
    return replace(
        run,
        system=SaGConfig(slots="random-narrow", noise="sample"),
        description="SaG with narrow random slots, trained on RefCOCO's sentences without masks.",
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


def _with_iterations(count: int, words: str) -> Run:
    return replace(
        sag_refcoco(),
        system=SaGConfig(iterations=count),
        description=f"SaG with {words} of entity discovery, trained on RefCOCO's sentences without masks.",
    )


def _sentences(dataset: str, split_by: str | None) -> StoredData:
    """Every sentence of an epoch with its image; an image may be twice in a batch, as published."""
    return StoredData(
        dataset=dataset, split_by=split_by, labels="none", draw="sentence", sentences="sent", overlaps="union"
    )
