"""Write files and folders that appear complete or not at all: written under another name, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

LFS_START = b"version https://git-lfs"


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file to write, which replaces `path` at the end; an error leaves `path` as it was.

    The name is always the same, so that the rest of a killed process is overwritten; two processes must not write the
    same file at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing")
    beside.unlink(missing_ok=True)
    try:
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)  # safetensors makes its files readable for their owner only
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # so that a power failure cannot leave half a file
        os.replace(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # the name that the caller gave
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """A new folder to write in, which becomes `folder` at the end; an error leaves nothing behind.

    It is a neighbour of `folder`. Where `folder` exists, is empty and cannot be replaced, it is a folder inside, whose
    contents are moved up at the end. Raises InputError where `folder` holds something already.
    """
    place = Path(os.path.realpath(folder))  # the target of a link, and the name of `.`
    _refuse_full(place, folder)
    must_stay = place.exists() and _must_stay(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    name = f".{place.name}.{os.getpid()}.part"
    part = place / name if must_stay else place.with_name(name)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        _refuse_full(place, folder, part)  # another process may have written there meanwhile
        if must_stay:
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
    """Raises InputError if something other than `part` is at `place`."""
    if os.path.lexists(place) and (not place.is_dir() or any(child != part for child in place.iterdir())):
        raise InputError(f"{named} holds something already; give a new or an empty folder.")


def _must_stay(place: Path) -> bool:
    """Whether the empty folder cannot be replaced: a mount point, the working directory, or in a read-only folder."""
    return os.path.ismount(place) or place.samefile(Path.cwd()) or not os.access(place.parent, os.W_OK | os.X_OK)


def _move_out(part: Path) -> None:
    """Move the contents of the folder into its parent: all of them or none."""
    moved: list[Path] = []
    try:
        for child in list(part.iterdir()):
            os.replace(child, part.parent / child.name)
            moved.append(child)
    except BaseException:
        for child in moved:
            os.replace(part.parent / child.name, child)
        raise
