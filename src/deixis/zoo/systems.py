"""The systems by name, each with the config that builds it; other packages add theirs as entry points."""

from ..adapt.sda.affinity import AffinityConfig
from ..adapt.sda.classifier import CategoryClassifierConfig
from ..adapt.sda.predictor import WordWeighingConfig
from ..checkpoints.configs import type_name
from ..errors import InputError
from ..models.cmdyconv import CMDyConvConfig
from ..models.cmpc import CMPCConfig
from ..models.cmsa import CMSAConfig
from ..models.groupvit import GroupViTConfig
from ..models.late_fusion import LateFusionConfig
from ..models.lavt import LAVTConfig
from ..models.magnet import MagNetConfig
from ..models.maskclip import MaskCLIPConfig
from ..models.masked_autoencoder import MaskedAutoencoderConfig
from ..models.proposal_matching import ProposalMatchingConfig
from ..models.sag import SaGConfig
from ..models.scene_parsing import SceneParsingConfig
from ..models.sda import SDAConfig
from ..models.tseg import TSEGConfig
from ..models.vega import VEGAConfig
from ..records import Config
from .lookup import installed, named_by_user, plugins

GROUP = "deixis.systems"  # of entry points
SYSTEMS: dict[str, type[Config]] = {
    "cmdyconv": CMDyConvConfig,
    "cmpc": CMPCConfig,
    "cmsa": CMSAConfig,
    "groupvit": GroupViTConfig,
    "late_fusion": LateFusionConfig,
    "lavt": LAVTConfig,
    "magnet": MagNetConfig,
    "proposal_matching": ProposalMatchingConfig,
    "sda": SDAConfig,
    "maskclip": MaskCLIPConfig,
    "tseg": TSEGConfig,
    "sag": SaGConfig,
    "vega": VEGAConfig,
}
# Networks that only pre-train: their checkpoints hold an encoder to start from, and segment nothing.
ENCODERS: dict[str, type[Config]] = {
    "masked_autoencoder": MaskedAutoencoderConfig,
    "scene_parsing": SceneParsingConfig,
    "sda_affinity": AffinityConfig,
    "sda_classifier": CategoryClassifierConfig,
    "sda_words": WordWeighingConfig,
}


def name_of(config: Config) -> str:
    """The name of a config's system: a built-in one, an entry point's, or `my_package.my_file:MyConfig`."""
    for name, kind in {**SYSTEMS, **ENCODERS}.items():
        if type(config) is kind:
            return name
    path = type_name(type(config))
    return next((name for name, value in plugins(GROUP).items() if value == path), path)


def system_named(name: str) -> type[Config]:
    """The config class that a user names: a built-in system, an entry point, or a class as `module:Class`."""
    return named_by_user(name, SYSTEMS, GROUP)


def system_of_card(name: str, given: type[Config] | None = None) -> type[Config]:
    """The config class of the system that a checkpoint names.

    A checkpoint never chooses what is imported: besides the built-in systems and the entry points of installed
    packages, only `given` is used, which the caller passed.
    """
    if given is not None:
        path = type_name(given)
        named = {known for known, kind in SYSTEMS.items() if kind is given}
        named |= {path, *(point for point, value in plugins(GROUP).items() if value == path)}
        if name not in named:
            raise InputError(f"The checkpoint's system is {name!r}, not {path!r}; pass the config of that system.")
        return given
    if ":" in name:
        raise InputError(
            f"The checkpoint's system is {name!r}, which is not part of deixis; if you trust that module, pass it: "
            f"`--system {name}`, or load(…, system={name.rpartition(':')[2]})."
        )
    return installed(name, SYSTEMS, GROUP)
