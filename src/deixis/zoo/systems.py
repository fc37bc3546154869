"""The systems by name, each with the config that builds it, and how systems outside of this package are found."""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ..checkpoints.configs import type_name
from ..errors import InputError, did_you_mean
from ..models.late_fusion import LateFusionConfig
from ..models.lavt import LAVTConfig
from ..models.magnet import MagNetConfig
from ..models.scene_parsing import SceneParsingConfig
from ..models.vega import VEGAConfig
from ..objectives.dense_classes import DenseClassesConfig
from ..objectives.mask_grounding import MaskGroundingConfig
from ..objectives.supervised import SupervisedConfig
from ..records import Config

SYSTEMS: dict[str, type[Config]] = {
    "late_fusion": LateFusionConfig,
    "lavt": LAVTConfig,
    "magnet": MagNetConfig,
    "vega": VEGAConfig,
}
# Networks that only pre-train: their checkpoints hold an encoder to start from, and segment nothing.
ENCODERS: dict[str, type[Config]] = {"scene_parsing": SceneParsingConfig}
OBJECTIVES: dict[str, type[Config]] = {
    "dense_classes": DenseClassesConfig,
    "mask_grounding": MaskGroundingConfig,
    "supervised": SupervisedConfig,
}
SYSTEMS_GROUP, OBJECTIVES_GROUP = "deixis.systems", "deixis.objectives"  # of entry points


def name_of(config: Config) -> str:
    """The name of a config's system: a built-in one, an entry point's, or `my_package.my_file:MyConfig`."""
    for name, kind in {**SYSTEMS, **ENCODERS}.items():
        if type(config) is kind:
            return name
    path = type_name(type(config))
    return next((point.name for point in entry_points(group=SYSTEMS_GROUP) if point.value == path), path)


def system_of_card(name: str, given: type[Config] | None = None) -> type[Config]:
    """The config class of the system that a checkpoint names.

    A checkpoint never chooses what is imported: besides the built-in systems and the entry points of installed
    packages, only `given` is used, which the caller passed.
    """
    if given is None and ":" in name:
        raise InputError(
            f"The checkpoint's system is {name!r}, which is not part of deixis; if you trust that module, pass it: "
            f"`--system {name}`, or load(…, system={name.rpartition(':')[2]})."
        )
    if given is None:
        return _named(name, SYSTEMS, SYSTEMS_GROUP, "system")
    names = {type_name(given), *(point.name for point in entry_points(group=SYSTEMS_GROUP) if _is(point, given))}
    names |= {known for known, kind in SYSTEMS.items() if kind is given}
    if name not in names:
        raise InputError(f"The checkpoint's system is {name!r}, not {type_name(given)!r}; pass the config it names.")
    return given


def system_named(name: str) -> type[Config]:
    """The config class that a user names: a built-in system, an entry point, or a class as `module:Class`."""
    return _imported(name) if ":" in name else _named(name, SYSTEMS, SYSTEMS_GROUP, "system")


def objective_named(name: str) -> type[Config]:
    """The config class that a user names: a built-in objective, an entry point, or a class as `module:Class`."""
    return _imported(name) if ":" in name else _named(name, OBJECTIVES, OBJECTIVES_GROUP, "objective")


def known_configs(*given: type[Config]) -> dict[str, type]:
    """Every config of a system or an objective that a stored run may name, and those that the caller passed."""
    points = [*entry_points(group=SYSTEMS_GROUP), *entry_points(group=OBJECTIVES_GROUP)]
    kinds = [*SYSTEMS.values(), *ENCODERS.values(), *OBJECTIVES.values(), *(point.load() for point in points), *given]
    return {type_name(kind): kind for kind in kinds}


def _named(name: str, table: Mapping[str, type[Config]], group: str, what: str) -> type[Config]:
    if name in table:
        return table[name]
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise InputError(f"There is no {what} {name!r}. {did_you_mean(name, [*table, *points])}")
    return _config_class(points[name].load(), points[name].value)


def _imported(path: str) -> type[Config]:
    """The class at `module:Class`; modules in the working directory are found, as by `python -m`."""
    module, _, name = path.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{path!r} cannot be imported ({error}); expected `my_package.my_file:MyConfig`.") from error
    return _config_class(found, path)


def _config_class(found: object, path: str) -> type[Config]:
    if not (isinstance(found, type) and issubclass(found, Config) and is_dataclass(found)):
        raise InputError(f"{path!r} is not a config; expected a dataclass that inherits from `deixis.records.Config`.")
    return found


def _is(point: EntryPoint, kind: type[Config]) -> bool:
    return point.value == type_name(kind)
