"""Every recipe by its name, and training one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, did_you_mean
from ..runs.run import Chain, Run
from .adapt_toyland import sda_park_to_night_town, sda_photo_to_sketch_home, sda_zoo_to_sketch_street
from .adapt_toyland_clips import sda_clips_park_to_photo_town
from .lavt import lavt_gref_google, lavt_gref_umd, lavt_refcoco, lavt_refcoco_plus, lavt_toyland, lavt_toyland_grounded
from .magnet import magnet_gref_google, magnet_gref_umd, magnet_refcoco, magnet_refcoco_plus, magnet_toyland
from .paper_tables import with_row
from .photos import photos
from .sag import (
    sag_gref_google,
    sag_own,
    sag_phrasecut,
    sag_refcoco,
    sag_refcoco_plus,
    sag_refcoco_query,
    sag_refcoco_random,
    sag_refcoco_random_narrow,
    sag_refcoco_t1,
    sag_refcoco_t2,
    sag_refcoco_t4,
    sag_refcoco_t8,
)
from .sag_compared import groupvit_refcoco, maskclip_refcoco, tseg_like_refcoco
from .sag_toyland import late_fusion_vit_toyland, masked_autoencoder_toyland, sag_toyland
from .sda import sda_base_refcoco, sda_refcoco_to_gref, sda_refcoco_to_refcoco_plus
from .sda_compared import (
    cmpc_refcoco_original,
    cmpc_refcoco_to_gref,
    cmpc_refcoco_to_plus,
    cmsa_refcoco_original,
    cmsa_refcoco_to_gref,
    cmsa_refcoco_to_plus,
)
from .sda_video import (
    cmdyconv_a2d_to_jhmdb,
    cmdyconv_a2d_to_rvos,
    cmdyconv_rvos_to_a2d,
    cmdyconv_rvos_to_jhmdb,
    cmpc_a2d_to_jhmdb,
    cmpc_a2d_to_rvos,
    cmpc_rvos_to_a2d,
    cmpc_rvos_to_jhmdb,
    sda_a2d_to_jhmdb,
    sda_a2d_to_rvos,
    sda_rvos_to_a2d,
    sda_rvos_to_jhmdb,
)
from .toyland import late_fusion_toyland, scene_parsing_toyland
from .vega import (
    vega_gref_google,
    vega_gref_umd,
    vega_refcoco,
    vega_refcoco_plus,
    vega_small,
    vega_toyland,
    vega_toyland_counting,
    vega_toyland_grounded,
    vega_toyland_presence,
    vega_toyland_rare,
)

if TYPE_CHECKING:
    from ..training.loop import Result

RECIPES: dict[str, Callable[[], Run | Chain]] = {
    "cmdyconv_a2d_to_jhmdb": cmdyconv_a2d_to_jhmdb,
    "cmdyconv_a2d_to_rvos": cmdyconv_a2d_to_rvos,
    "cmdyconv_rvos_to_a2d": cmdyconv_rvos_to_a2d,
    "cmdyconv_rvos_to_jhmdb": cmdyconv_rvos_to_jhmdb,
    "cmpc_a2d_to_jhmdb": cmpc_a2d_to_jhmdb,
    "cmpc_a2d_to_rvos": cmpc_a2d_to_rvos,
    "cmpc_refcoco_original": cmpc_refcoco_original,
    "cmpc_refcoco_to_gref": cmpc_refcoco_to_gref,
    "cmpc_refcoco_to_plus": cmpc_refcoco_to_plus,
    "cmpc_rvos_to_a2d": cmpc_rvos_to_a2d,
    "cmpc_rvos_to_jhmdb": cmpc_rvos_to_jhmdb,
    "cmsa_refcoco_original": cmsa_refcoco_original,
    "cmsa_refcoco_to_gref": cmsa_refcoco_to_gref,
    "cmsa_refcoco_to_plus": cmsa_refcoco_to_plus,
    "groupvit_refcoco": groupvit_refcoco,
    "late_fusion_toyland": late_fusion_toyland,
    "late_fusion_vit_toyland": late_fusion_vit_toyland,
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
    "maskclip_refcoco": maskclip_refcoco,
    "masked_autoencoder_toyland": masked_autoencoder_toyland,
    "photos": photos,
    "sag_gref_google": sag_gref_google,
    "sag_own": sag_own,
    "sag_phrasecut": sag_phrasecut,
    "sag_refcoco": sag_refcoco,
    "sag_refcoco_plus": sag_refcoco_plus,
    "sag_refcoco_query": sag_refcoco_query,
    "sag_refcoco_random": sag_refcoco_random,
    "sag_refcoco_random_narrow": sag_refcoco_random_narrow,
    "sag_refcoco_t1": sag_refcoco_t1,
    "sag_refcoco_t2": sag_refcoco_t2,
    "sag_refcoco_t4": sag_refcoco_t4,
    "sag_refcoco_t8": sag_refcoco_t8,
    "sag_toyland": sag_toyland,
    "scene_parsing_toyland": scene_parsing_toyland,
    "sda_a2d_to_jhmdb": sda_a2d_to_jhmdb,
    "sda_a2d_to_rvos": sda_a2d_to_rvos,
    "sda_base_refcoco": sda_base_refcoco,
    "sda_clips_park_to_photo_town": sda_clips_park_to_photo_town,
    "sda_park_to_night_town": sda_park_to_night_town,
    "sda_photo_to_sketch_home": sda_photo_to_sketch_home,
    "sda_refcoco_to_gref": sda_refcoco_to_gref,
    "sda_refcoco_to_refcoco_plus": sda_refcoco_to_refcoco_plus,
    "sda_rvos_to_a2d": sda_rvos_to_a2d,
    "sda_rvos_to_jhmdb": sda_rvos_to_jhmdb,
    "sda_zoo_to_sketch_street": sda_zoo_to_sketch_street,
    "tseg_like_refcoco": tseg_like_refcoco,
    "vega_gref_google": vega_gref_google,
    "vega_gref_umd": vega_gref_umd,
    "vega_refcoco": vega_refcoco,
    "vega_refcoco_plus": vega_refcoco_plus,
    "vega_small": vega_small,
    "vega_toyland": vega_toyland,
    "vega_toyland_counting": vega_toyland_counting,
    "vega_toyland_grounded": vega_toyland_grounded,
    "vega_toyland_presence": vega_toyland_presence,
    "vega_toyland_rare": vega_toyland_rare,
}


def recipe_named(name: str) -> Run | Chain:
    """What the recipe returns; its name may have dashes, and after a slash a row of its paper's tables."""
    recipe, _, row = name.partition("/")
    if (key := recipe.replace("-", "_")) not in RECIPES:
        known = [each.replace("_", "-") for each in RECIPES]
        raise InputError(f"There is no recipe {recipe!r}. {did_you_mean(key.replace('_', '-'), known)}")
    return with_row(RECIPES[key](), row) if row else RECIPES[key]()


def train(
    job: Run | Chain | str, out: str | Path, *, resume: bool = False, data_changed: bool = False, quiet: bool = False
) -> "Result":
    """Train a Run, a Chain, or the recipe of that name in the folder `out`, or resume it there.

    The Result of a chain is its last Run's. SIGTERM, SIGHUP and Ctrl-C finish the step and save. Raises `InputError`
    where the folder holds another job, or this one and `resume` is not given, or where the data changed since and
    `data_changed` is not given.
    """
    from ..runs.execute import execute  # accelerate takes a second to import, and a list of recipes does not need it

    chosen = recipe_named(job) if isinstance(job, str) else job
    return execute(chosen, Path(out), resume=resume, data_changed=data_changed, quiet=quiet)
