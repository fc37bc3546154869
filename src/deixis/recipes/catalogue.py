"""Every recipe by its name."""

from collections.abc import Callable

from ..runs.run import Run
from .late_fusion import late_fusion_toyland
from .lavt import lavt_gref_google, lavt_gref_umd, lavt_refcoco, lavt_refcoco_plus, lavt_toyland, lavt_toyland_grounded
from .magnet import magnet_gref_google, magnet_gref_umd, magnet_refcoco, magnet_refcoco_plus, magnet_toyland
from .vega import (
    vega_gref_google,
    vega_gref_umd,
    vega_refcoco,
    vega_refcoco_plus,
    vega_small,
    vega_toyland,
    vega_toyland_grounded,
)

RECIPES: dict[str, Callable[[], Run]] = {
    "late_fusion_toyland": late_fusion_toyland,
    "lavt_gref_google": lavt_gref_google,
    "lavt_gref_umd": lavt_gref_umd,
    "lavt_refcoco": lavt_refcoco,
    "lavt_refcoco_plus": lavt_refcoco_plus,
    "lavt_toyland": lavt_toyland,
    "lavt_toyland_grounded": lavt_toyland_grounded,
    "magnet_gref_google": magnet_gref_google,
    "magnet_gref_umd": magnet_gref_umd,
    "magnet_refcoco": magnet_refcoco,
    "magnet_refcoco_plus": magnet_refcoco_plus,
    "magnet_toyland": magnet_toyland,
    "vega_gref_google": vega_gref_google,
    "vega_gref_umd": vega_gref_umd,
    "vega_refcoco": vega_refcoco,
    "vega_refcoco_plus": vega_refcoco_plus,
    "vega_small": vega_small,
    "vega_toyland": vega_toyland,
    "vega_toyland_grounded": vega_toyland_grounded,
}
