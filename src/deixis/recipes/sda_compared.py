"""The methods for images that SDA is compared with, trained on a source alone: CMSA and CMPC-I (Appendix C.3).

The target, RefCOCO+ (UNC+) or G-Ref, is only scored: none of its samples is trained on, but the words of its sentences
are in the vocabulary. The best weights are chosen by the target's validation split, of which the paper does not say
whether it was used; the last ones are beside them. The paper names neither splits nor the settings of these methods:
here UNC's and UMD's `val`, and the settings of SDA's first stage. The `-original` recipes have the settings of the
methods' own papers.
"""

from dataclasses import replace

from ..data.transforms import Preprocess
from ..models.cmpc import CMPCConfig
from ..models.cmsa import CMSAConfig
from ..records import Config
from ..runs.data import StoredData
from ..runs.run import LEARNED, Run
from ..text.glove import WordConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule

PLUS = StoredData(dataset="refcoco+", split_by="unc", labels="none")
GREF = StoredData(dataset="refcocog", split_by="umd", labels="none")
WORDS = WordConfig(glove=True)


def cmsa_refcoco_to_plus() -> Run:
    """`deixis train cmsa-refcoco-to-plus --data.root DATA --target.root DATA`: CMSA, RefCOCO to RefCOCO+ (UNC→UNC+).

    It starts from published files: `--start-from.resnet resnet101.pth --start-from.glove glove.6B.300d.txt`. Without
    GloVe: `--system.text.glove False`. Time: not measured. Score: published oIoU 33.32, mIoU 36.94, mAP 21.61.
    """
    return _source_only(CMSAConfig(text=WORDS), PLUS, "CMSA, trained on RefCOCO (UNC) alone, for RefCOCO+.")


def cmsa_refcoco_to_gref() -> Run:
    """`deixis train cmsa-refcoco-to-gref --data.root DATA --target.root DATA`: CMSA, RefCOCO to G-Ref (UNC→G-Ref).

    Files to start from: as `cmsa-refcoco-to-plus`.
    Time: not measured. Score: published oIoU 36.42, mIoU 40.28, mAP 25.06.
    """
    return _source_only(CMSAConfig(text=WORDS), GREF, "CMSA, trained on RefCOCO (UNC) alone, for G-Ref.")


def cmpc_refcoco_to_plus() -> Run:
    """`deixis train cmpc-refcoco-to-plus --data.root DATA --target.root DATA`: CMPC-I, RefCOCO to RefCOCO+ (UNC→UNC+).

    Files to start from: as `cmsa-refcoco-to-plus`.
    Time: not measured. Score: published oIoU 35.23, mIoU 38.98, mAP 23.26.
    """
    return _source_only(CMPCConfig(text=WORDS), PLUS, "CMPC-I, trained on RefCOCO (UNC) alone, for RefCOCO+.")


def cmpc_refcoco_to_gref() -> Run:
    """`deixis train cmpc-refcoco-to-gref --data.root DATA --target.root DATA`: CMPC-I, RefCOCO to G-Ref (UNC→G-Ref).

    Files to start from: as `cmsa-refcoco-to-plus`.
    Time: not measured. Score: published oIoU 38.61, mIoU 41.74, mAP 27.13.
    """
    return _source_only(CMPCConfig(text=WORDS), GREF, "CMPC-I, trained on RefCOCO (UNC) alone, for G-Ref.")


def cmsa_refcoco_original() -> Run:
    """`deixis train cmsa-refcoco-original --data.root DATA`: CMSA on RefCOCO with the settings of its own code.

    Files to start from: as `cmsa-refcoco-to-plus`. The published encoder was a DeepLab-ResNet-101 with dilation, and
    its rate ended at 1e-5, which is 0 here; the published decay of 5e-4 against a loss summed over all pixels is none
    against their mean. Time: not measured. Score: not comparable, because of the encoder; the paper used a CRF, too.
    """
    return _original(CMSAConfig(text=WordConfig()), "CMSA with the settings of its own code, on RefCOCO (UNC).")


def cmpc_refcoco_original() -> Run:
    """`deixis train cmpc-refcoco-original --data.root DATA`: CMPC-I on RefCOCO with the settings of its own code.

    As `cmsa-refcoco-original`, with the same differences; GloVe's vectors are trained. The published weights are those
    of step 700,000 of these 800,000. Time: not measured. Score: published oIoU 62.47 val with a dilated encoder and a
    CRF, which is not expected here.
    """
    return _original(CMPCConfig(text=WordConfig()), "CMPC-I with the settings of its own code, on RefCOCO (UNC).")


def _source_only(system: Config, target: StoredData, description: str) -> Run:
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        target=target,
        system=system,
        preprocess=Preprocess(image_size=320, max_tokens=20, fit="pad"),
        optimiser=Optimiser(lr=4e-4, weight_decay=0.0),
        schedule=Schedule(epochs=20, batch_size=8, warm_up=300, warm_up_from=2.5e-4, decay="inverse"),
        vocabulary=LEARNED,
        workers=8,
        description=description,
    )


def _original(system: Config, description: str) -> Run:
    return replace(
        _source_only(system, PLUS, description),
        target=None,
        optimiser=Optimiser(lr=2.5e-4, weight_decay=0.0, frozen=("vision.*",), lr_multipliers={"*bias": 2.0}),
        schedule=Schedule(steps=800_000, batch_size=1, decay="polynomial", power=0.9, validate_every=20_000),
    )
