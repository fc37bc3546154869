"""Every recipe by its name."""

from collections.abc import Callable

from .lavt import lavt_gref_google, lavt_gref_umd, lavt_refcoco, lavt_refcoco_plus, lavt_toyland, lavt_toyland_grounded
from .pointing import pointing_toyland
from .run import Run
from .vega import vega_gref_google, vega_gref_umd, vega_refcoco, vega_refcoco_plus, vega_toyland, vega_toyland_grounded

RECIPES: dict[str, Callable[[], Run]] = {
    "lavt_gref_google": lavt_gref_google,
    "lavt_gref_umd": lavt_gref_umd,
    "lavt_refcoco": lavt_refcoco,
    "lavt_refcoco_plus": lavt_refcoco_plus,
    "lavt_toyland": lavt_toyland,
    "lavt_toyland_grounded": lavt_toyland_grounded,
    "pointing_toyland": pointing_toyland,
    "vega_gref_google": vega_gref_google,
    "vega_gref_umd": vega_gref_umd,
    "vega_refcoco": vega_refcoco,
    "vega_refcoco_plus": vega_refcoco_plus,
    "vega_toyland": vega_toyland,
    "vega_toyland_grounded": vega_toyland_grounded,
}
