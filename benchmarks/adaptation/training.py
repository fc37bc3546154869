"""Training a row: Runs that several rows share are trained once, and whatever was stopped goes on."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from deixis.runs.execute import execute, holds_job
from deixis.runs.run import Chain


def train(chain: Chain, folder: Path, shared: Path, *, quiet: bool = False) -> Path | None:
    """The folder of the chain's last Run when it is finished, None where a signal stopped it.

    Each Run of the chain is a link into `shared`, to a folder named after the Run and all Runs before it: rows that
    begin alike train these Runs once. The links are relative and made anew, so that the folders may be moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in run_folders(chain, shared):
        place.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(os.path.relpath(place, folder), target_is_directory=True)
    if not execute(chain, folder, resume=holds_job(folder), quiet=quiet).finished:
        return None
    return folder / list(chain.runs)[-1]


def settings_of(config: Any) -> Any:
    """The fields of a config that differ from their defaults, JSON-able; a new field with a default changes nothing."""
    if not is_dataclass(config):
        many = isinstance(config, tuple | list)
        return [settings_of(one) for one in config] if many else config
    plain = {"type": type(config).__name__}
    for each in fields(config):
        value = getattr(config, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if value != default:
            plain[each.name] = settings_of(value)
    return plain


def run_folders(chain: Chain, shared: Path) -> Iterator[tuple[str, Path]]:
    """The name of each Run and its folder; the folder changes with everything that the Run depends on."""
    digest = hashlib.sha256()
    for name, run in chain.runs.items():
        digest.update(json.dumps([name, settings_of(run)], sort_keys=True, default=str).encode())
        yield name, shared / f"{name}-{digest.hexdigest()[:12]}".replace(" ", "-")
