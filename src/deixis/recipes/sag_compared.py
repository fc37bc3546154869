"""The methods that SaG's tables compare: GroupViT, MaskCLIP and TSEG, trained on the same sentences without masks.

None of their published numbers comes from these recipes' settings beyond batch 32 and the rate 1e-5: the losses, the
rest of the optimiser and the encoders' rates are our choices. Zero-shot numbers need no training: `deixis evaluate
groupvit --protocol weak --data DATA --dataset refcoco --split val --download`, and so `maskclip`. Other data sets are
`--data.dataset refcoco+`, `refcocog --data.split-by google` and `phrasecut`.

Published mIoU (Table A4), RefCOCO val, testA, testB; RefCOCO+ val, testA, testB; G-Ref val; PhraseCut val:
GroupViT 10.82 11.11 11.29; 11.14 10.78 11.84; 12.77; 9.41. MaskCLIP 19.45 18.69 21.37; 19.97 18.93 21.48; 21.11; 23.80.
TSEG val only: 25.44; 22.01; 22.05; 28.77, with DenseCRF 25.95; 22.62; 23.41; 30.12.
"""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.groupvit import GroupViTConfig
from ..models.maskclip import MaskCLIPConfig
from ..models.tseg import TSEGConfig
from ..objectives.image_text import ImageTextConfig
from ..records import MaskRule
from ..runs.data import StoredData
from ..runs.run import Run, StartFrom
from ..training.optim import Optimiser
from ..training.schedule import Schedule

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def groupvit_refcoco() -> Run:
    """`deixis train groupvit-refcoco --data.root DATA`: GroupViT fine-tuned on RefCOCO's sentences.

    It starts from `deixis checkpoint download groupvit`, once. The supplement gives batch and rate.
    Time: not measured. Score: Table A4 has 10.82 on val, 11.11 on testA and 11.29 on testB, and does not say whether
    that is zero-shot or fine-tuned.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc", labels="none", draw="sentence", overlaps="union"),
        system=GroupViTConfig(),
        objective=ImageTextConfig(),
        preprocess=Preprocess(image_size=224, max_tokens=77),
        optimiser=Optimiser(lr=1e-5, weight_decay=1e-4, clip=0.1),
        schedule=Schedule(epochs=50, batch_size=32, decay="cosine"),
        vocabulary="groupvit",
        start_from=StartFrom(checkpoint="groupvit"),
        choose_best="loss",
        workers=8,
        description="GroupViT, fine-tuned on RefCOCO's sentences without masks, after images and sentences of the web.",
    )


def maskclip_refcoco() -> Run:
    """`deixis train maskclip-refcoco --data.root DATA`: MaskCLIP, its CLIP fine-tuned on RefCOCO's sentences.

    It starts from `deixis checkpoint download maskclip`, once. The supplement gives batch, rate and threshold. It is
    trained at 224 pixels, CLIP's own size; `deixis train --preprocess.image-size 512` is the size of its zero-shot
    maps.
    Time: not measured. Score: Table A4 has 19.45 on val, 18.69 on testA and 21.37 on testB, and does not say whether
    that is zero-shot or fine-tuned.
    """
    return replace(
        groupvit_refcoco(),
        system=MaskCLIPConfig(),
        preprocess=Preprocess(image_size=224, max_tokens=77, mean=CLIP_MEAN, std=CLIP_STD),
        mask_rule=MaskRule(kind="min-max", threshold=0.5),
        vocabulary="maskclip",
        start_from=StartFrom(checkpoint="maskclip"),
        description="MaskCLIP, its CLIP fine-tuned on RefCOCO's sentences without masks, after images and sentences of "
        "the web.",
    )


def tseg_like_refcoco() -> Run:
    """`deixis train tseg-like-refcoco --data.root DATA`: TSEG as far as its abstract tells, on RefCOCO's sentences.

    No source gives the whole method: tables must call it `tseg-like`. BERT starts from `--start-from.bert
    bert-base-uncased/model.safetensors`, the ViT from a ViT-S/16 in transformers' names, in Python as
    `StartFrom(checkpoint=FILE, prefixes={"vit.": "vision."}, bert=FILE)`.
    Time: not measured. Score: the original is published with mIoU 25.44 on val, 25.95 with DenseCRF
    (`deixis evaluate RUN --refine crf`).
    """
    return replace(
        groupvit_refcoco(),
        system=TSEGConfig(),
        preprocess=Preprocess(image_size=384, max_tokens=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        optimiser=Optimiser(lr=1e-5, weight_decay=1e-4, lr_multipliers={"vision.*": 0.1}, clip=0.1),
        vocabulary="bert-base-uncased",
        start_from=StartFrom(),
        description="TSEG-like: the abstract's idea, settings of ours; trained on RefCOCO's sentences without masks.",
    )
