"""What is written is there whole or not at all: it is written beside its place, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

LFS_START = b"version https://git-lfs"


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
    """A new folder to write in, which becomes `folder` at the end; an error leaves nothing behind.

    It lies beside `folder`; within it where an empty one must stay, and what was written is moved out at the end.
    Raises a DeixisError where `folder` holds something already.
    """
    place = Path(os.path.realpath(folder))  # what a link leads to, and the name of `.`
    _refuse_full(place, folder)
    stays = place.exists() and _must_stay(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    name = f".{place.name}.{os.getpid()}.part"
    part = place / name if stays else place.with_name(name)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        _refuse_full(place, folder, part)  # someone else may have put something there meanwhile
        if stays:
            _move_out(part)
        else:
            if place.exists():
                place.rmdir()
            os.replace(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is what Git stores in place of a large file, which `git lfs pull` fetches."""
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(LFS_START)
    except OSError:
        return False


def _refuse_full(place: Path, named: Path, part: Path | None = None) -> None:
    if os.path.lexists(place) and (not place.is_dir() or any(child != part for child in place.iterdir())):
        raise InputError(f"{named} holds something already; name a new or an empty folder.")


def _must_stay(place: Path) -> bool:
    """Whether the empty folder cannot be replaced by another: a mount, the one we stand in, or one in a locked one."""
    return os.path.ismount(place) or place.samefile(Path.cwd()) or not os.access(place.parent, os.W_OK | os.X_OK)


def _move_out(part: Path) -> None:
    """All that the folder holds into the one that holds it, or none of it."""
    moved: list[Path] = []
    try:
        for child in list(part.iterdir()):
            os.replace(child, part.parent / child.name)
            moved.append(child)
    except BaseException:
        for child in moved:
            os.replace(part.parent / child.name, child)
        raise
