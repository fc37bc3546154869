"""The objectives by name, each with the config that builds it; other packages add theirs as entry points."""

from ..adapt.acp import ACPConfig
from ..adapt.dann import DANNConfig
from ..adapt.man import MANConfig
from ..adapt.mmd import MMDConfig
from ..adapt.plca import PLCAConfig
from ..adapt.sda.affinity_labels import AffinityLossConfig
from ..adapt.sda.classifier import CategoryLabelsConfig
from ..adapt.sda.dual import DualAdaptationConfig
from ..adapt.sda.predictor import WordDistillationConfig
from ..adapt.sda.semantic import SemanticInitialisationConfig
from ..checkpoints.configs import type_name
from ..objectives.dense_classes import DenseClassesConfig
from ..objectives.image_text import ImageTextConfig
from ..objectives.mask_grounding import MaskGroundingConfig
from ..objectives.masked_autoencoding import MaskedAutoencodingConfig
from ..objectives.presence import PresenceConfig
from ..objectives.supervised import SupervisedConfig
from ..objectives.text_supervision import TextSupervisionConfig
from ..records import Config
from .lookup import installed, named_by_user, plugins
from .systems import ENCODERS, SYSTEMS
from .systems import GROUP as SYSTEMS_GROUP

GROUP = "deixis.objectives"  # of entry points
OBJECTIVES: dict[str, type[Config]] = {
    "acp": ACPConfig,
    "dann": DANNConfig,
    "dense_classes": DenseClassesConfig,
    "image_text": ImageTextConfig,
    "man": MANConfig,
    "mask_grounding": MaskGroundingConfig,
    "masked_autoencoding": MaskedAutoencodingConfig,
    "mmd": MMDConfig,
    "plca": PLCAConfig,
    "presence": PresenceConfig,
    "sda": DualAdaptationConfig,
    "sda_affinity": AffinityLossConfig,
    "sda_categories": CategoryLabelsConfig,
    "sda_semantic": SemanticInitialisationConfig,
    "sda_words": WordDistillationConfig,
    "supervised": SupervisedConfig,
    "text_supervision": TextSupervisionConfig,
}


def objective_named(name: str) -> type[Config]:
    """The config class that a user names: a built-in objective, an entry point, or a class as `module:Class`."""
    return named_by_user(name, OBJECTIVES, GROUP)


def known_configs(*given: type[Config]) -> dict[str, type]:
    """Every config that a stored run may name: of systems and objectives, built in or installed, and those `given`."""
    added = [installed(name, {}, group) for group in (SYSTEMS_GROUP, GROUP) for name in plugins(group)]
    kinds = [*SYSTEMS.values(), *ENCODERS.values(), *OBJECTIVES.values(), *added, *given]
    return {type_name(kind): kind for kind in kinds}
