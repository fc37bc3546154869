"""What is written is there whole or not at all: it is written beside its place, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DeixisError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which becomes `path` at the end; an error leaves what was there.

    What a killed process left is written over by the next; so two must not write one file at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing")
    beside.unlink(missing_ok=True)
    try:
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)  # safetensors makes its files readable for their owner alone
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # so that not even a power cut leaves half a file
        os.replace(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # the name that its user knows
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write in, which becomes `folder` at the end; an error leaves nothing behind.

    Raises a DeixisError where `folder` holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DeixisError(f"{folder} holds something already; name a new or an empty folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        if folder.exists():
            folder.rmdir()
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
