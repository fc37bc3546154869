"""The masks of J-HMDB: `puppet_mask.mat`, a MATLAB 5 file with all frames of a video."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ...errors import InputError

_NAME = "part_mask"


def read_puppet_masks(path: Path) -> Bool[np.ndarray, "h w t"]:
    """`part_mask`, with the frames last. Raises InputError where the file is of another version or lacks it."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise InputError(f"{path} is a MATLAB file; install scipy to read it: `pip install deixis[video]`.") from None
    if not path.is_file():
        raise InputError(f"There is no file {path}; put it there.")
    try:
        content = loadmat(path, variable_names=[_NAME])
    except NotImplementedError:
        raise InputError(
            f"{path} is of MATLAB's version 7.3, but J-HMDB has version 5; save it with `save(…, '-v7')`, or get the "
            "original."
        ) from None
    except (MatReadError, ValueError, TypeError, OSError, EOFError, IndexError, KeyError, OverflowError) as error:
        raise InputError(f"{path} is not a MATLAB file that can be read ({error}); get a complete copy.") from error
    mask = content.get(_NAME)
    if not isinstance(mask, np.ndarray) or mask.ndim not in (2, 3) or mask.dtype.kind not in "uifb":
        found = "no" if mask is None else f"an unusable ({getattr(mask, 'shape', type(mask).__name__)})"
        raise InputError(f"{path} has {found} variable {_NAME!r}; expected masks [height, width, frames].")
    return (mask[..., None] if mask.ndim == 2 else mask) > 0
