"""From a name to the class of a config: in a table, in an entry point of an installed package, or as `module:Class`."""

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..errors import InputError, did_you_mean
from ..records import Config


def named_by_user(name: str, table: Mapping[str, type[Config]], group: str) -> type[Config]:
    """As `installed`, or the class that the user names as `my_package.my_file:MyConfig`, whose module is imported."""
    if ":" in name:
        return _config_class(imported(name, "my_package.my_file:MyConfig"), name)
    return installed(name.replace("-", "_"), table, group)


def installed(name: str, table: Mapping[str, type[Config]], group: str) -> type[Config]:
    """The class in the table, or of an entry point of the group. Raises `InputError` with the nearest name."""
    if name in table:
        return table[name]
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise InputError(f"There is no {_noun(group)} {name!r}. {did_you_mean(name, [*table, *points])}")
    return _config_class(points[name].load(), points[name].value)


def plugins(group: str) -> dict[str, str]:
    """The entry points of the group: name -> `module:Class`, none of them imported."""
    return {point.name: point.value for point in entry_points(group=group)}


def imported(path: str, expected: str) -> Any:
    """What `path` names as `module:name`; modules in the working directory are found too, as by `python -m`."""
    module, _, name = path.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{path!r} cannot be imported ({error}); expected `{expected}`.") from error


def _config_class(found: object, path: str) -> type[Config]:
    if not (isinstance(found, type) and issubclass(found, Config) and is_dataclass(found)):
        raise InputError(f"{path!r} is not a config; expected a dataclass that inherits from `deixis.records.Config`.")
    return found


def _noun(group: str) -> str:
    return group.rpartition(".")[2].removesuffix("s")
