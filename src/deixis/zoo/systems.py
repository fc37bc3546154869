"""The systems by name, each with the config it is built from."""

from typing import Any

from torch import nn

from ..errors import InputError, did_you_mean
from ..models.late_fusion import LateFusion, LateFusionConfig
from ..models.lavt import LAVT, LAVTConfig
from ..models.magnet import MagNet, MagNetConfig
from ..models.vega import VEGA, VEGAConfig

SYSTEMS: dict[str, tuple[type[Any], Any]] = {
    "lavt": (LAVTConfig, LAVT),
    "magnet": (MagNetConfig, MagNet),
    "late_fusion": (LateFusionConfig, LateFusion),
    "vega": (VEGAConfig, VEGA),
}


def build(name: str, config: Any) -> nn.Module:
    """The system of that name, with fresh weights."""
    if name not in SYSTEMS:
        raise InputError(f"There is no system {name!r}. {did_you_mean(name, SYSTEMS)}")
    wanted, system = SYSTEMS[name]
    if not isinstance(config, wanted):
        raise InputError(f"{name} is built from a {wanted.__name__}; {type(config).__name__} came.")
    return system(config)


def name_of(config: Any) -> str:
    """The name of the system that a config describes."""
    return next(name for name, (wanted, _) in SYSTEMS.items() if isinstance(config, wanted))
