"""Training a row: Runs that several rows share are trained once, and whatever was stopped goes on."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from deixis.checkpoints.configs import to_dict
from deixis.runs.execute import execute, holds_job
from deixis.runs.run import Chain


def train(chain: Chain, folder: Path, shared: Path, *, quiet: bool = False) -> Path | None:
    """The folder of the chain's last Run when it is finished, None where a signal stopped it.

    Each Run of the chain is a link into `shared`, to a folder named after the Run and all Runs before it: rows that
    begin alike train these Runs once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in run_folders(chain, shared):
        place.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(place.resolve(), target_is_directory=True)
    if not execute(chain, folder, resume=holds_job(folder), quiet=quiet).finished:
        return None
    return folder / list(chain.runs)[-1]


def run_folders(chain: Chain, shared: Path) -> Iterator[tuple[str, Path]]:
    """The name of each Run and its folder; the folder changes with everything that the Run depends on."""
    digest = hashlib.sha256()
    for name, run in chain.runs.items():
        digest.update(json.dumps([name, to_dict(run)], sort_keys=True).encode())
        yield name, shared / f"{name}-{digest.hexdigest()[:12]}".replace(" ", "-")
