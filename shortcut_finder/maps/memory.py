"""Memory: what one batch frees is kept for the next, instead of going back to the system.

The GNU C library asks the system for every large block anew, and the system clears each page of it
at the first touch. The layers of a network on a CPU are such blocks, and up to a third of the time
of a pass can go into clearing them.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

# Parameters of mallopt(3): which blocks are mapped, how many, and when the end of the heap is given
# back. Setting one stops the library from adjusting them itself.
MAP_THRESHOLD, MOST_MAPPED, TRIM_THRESHOLD = -3, -4, -1
KEEPING = {MOST_MAPPED: 0, TRIM_THRESHOLD: 2**31 - 1}
# What the library arrives at in a process that has freed large blocks.
USUAL = {MOST_MAPPED: 65536, MAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in this process; it goes back to the system at the end.

    Does nothing where the C library is not GNU's.
    """
    library = gnu_library()
    if library is None:
        yield
        return
    try:
        _set(library, KEEPING)
        yield
    finally:
        _set(library, USUAL)
        library.malloc_trim(0)


def settle_memory() -> None:
    """Start where the library arrives by itself after its first large blocks, for good.

    Pictures of a few hundred pixels never get it there, and each of them is paid for in pages.
    """
    library = gnu_library()
    if library is not None:
        _set(library, USUAL)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)


def gnu_library() -> ctypes.CDLL | None:
    """The GNU C library; ``None`` where there is another."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
