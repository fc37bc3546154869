"""Keep freed memory in the process: otherwise every layer takes megabytes from the system and returns them."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def keep_freed() -> bool:
    """Returns whether the C library has this setting, as glibc does; it holds for the whole process."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
