"""SDA's recipes: the base network on a source of photographs."""

from ..data.transforms import Preprocess
from ..models.sda import SDAConfig
from ..records import MaskRule
from ..runs.data import StoredData
from ..runs.run import LEARNED, Run
from ..text.gru import GRUConfig
from ..training.optim import Optimiser
from ..training.schedule import Schedule


def sda_base_refcoco() -> Run:
    """`deixis train sda-base-refcoco --data.root DATA`: SDA's base network on RefCOCO (UNC), a source.

    It starts from published files: `--start-from.resnet resnet101.pth --start-from.glove glove.6B.300d.txt`. Without
    GloVe: `--system.text.glove False`. The paper's rate "decreases proportionally", read as an inverse square root.
    Time: not measured. Score: published, tested on RefCOCO+ oIoU 34.57, mIoU 38.31, on G-Ref 37.45, 41.09.
    """
    return Run(
        data=StoredData(dataset="refcoco", split_by="unc"),
        system=SDAConfig(text=GRUConfig(glove=True)),
        preprocess=Preprocess(image_size=320, max_tokens=20, fit="pad"),
        mask_rule=MaskRule(kind="half-maximum"),
        optimiser=Optimiser(lr=4e-4, weight_decay=0.0),
        schedule=Schedule(epochs=20, batch_size=8, warm_up=300, warm_up_from=2.5e-4, decay="inverse"),
        vocabulary=LEARNED,
        workers=8,
        description="SDA's base network, ResNet-101 and GloVe, trained on RefCOCO (UNC).",
    )
