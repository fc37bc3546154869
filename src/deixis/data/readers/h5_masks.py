"""The annotation files of A2D-Sentences: HDF5 written by MATLAB, whose axes are therefore reversed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...errors import DeixisError, InputError
from ..images import MAX_PIXELS


def read_instances(path: Path) -> tuple[int, ...]:
    """The number of the instance that each mask of the file belongs to, in the order of the masks."""
    with _opened(path) as file:
        values = np.asarray(_dataset(file, "instance", path)).reshape(-1)
    if values.dtype.kind not in "uif" or (values != values.round()).any():
        raise InputError(f"{path}: 'instance' holds {str(values)[:40]!a}; expected whole numbers.")
    return tuple(int(value) for value in values)


def read_mask(path: Path, position: int) -> Bool[np.ndarray, "h w"]:
    """The mask at the position in `instance`: `reMask` is [n w h], or [w h] for one instance.

    Raises InputError where the data set is missing, or has fewer masks.
    """
    with _opened(path) as file:
        found = _dataset(file, "reMask", path)
        one = found.ndim == 2
        if found.ndim not in (2, 3) or position >= (1 if one else found.shape[0]):
            raise InputError(
                f"{path}: 'reMask' has shape {found.shape}, but mask {position + 1} is needed; expected [n, width, "
                "height] with one mask for each instance, or [width, height]."
            )
        if found.shape[-1] * found.shape[-2] > MAX_PIXELS:
            raise InputError(f"{path}: 'reMask' has shape {found.shape}; expected masks of a video's size.")
        mask = np.asarray(found if one else found[position])
    return np.ascontiguousarray(mask.T) > 0


def _dataset(file: Any, name: str, path: Path) -> Any:
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        names = ", ".join(sorted(file)) or "none"
        raise InputError(f"{path} has no data set {name!r}; the names there are: {names}. Get a complete copy.")
    if found.external or found.is_virtual:
        raise InputError(f"{path}: {name!r} is stored in other files; expected one file that holds all its data.")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path} is HDF5; install h5py to read it: `pip install deixis[video]`.") from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DeixisError:
        raise
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; put it there.") from None
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).split("(", 1)[-1].rstrip(")").rstrip(".")
        raise InputError(f"{path} is not an HDF5 file that can be read ({reason}); get a complete copy.") from error
