"""The C library's memory allocator, set to keep what is freed."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_ONE_GB = 1 << 30


def keep_freed_memory() -> None:
    """Blocks up to 1 GB are reused, instead of given back to the system and zeroed anew at every step.

    A training step of a policy took a quarter less processor time. Does nothing but on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _ONE_GB)
        mallopt(_M_TRIM_THRESHOLD, _ONE_GB)
