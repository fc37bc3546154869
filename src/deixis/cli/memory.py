"""Keep memory that is freed: else every layer takes megabytes from the system, page by page, and gives them back."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def keep_freed() -> bool:
    """For the whole process, so only a command may; whether its C library could (glibc can)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
