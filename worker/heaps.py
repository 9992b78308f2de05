"""How many heaps the C library keeps for the threads of the worker's process."""

import ctypes
from typing import Final

# Of glibc's <malloc.h>.
_ARENA_MAX: Final = -8
MOST: Final = 1


def share() -> None:
    """Let all threads share one heap; another C library than glibc does as it likes.

    To be called before there are threads: a heap that a thread has stays its own. glibc would make up to eight for each
    processor, and what is free in one is used by no other. The HTTP engine hands answers over by as many threads as come
    together, up to 512, so that nearly each answer's memory would come from a heap of its own. The threads seldom wait
    for each other here: most of what is made is made under the interpreter's lock, or out of a thread's own cache.
    """
    library = ctypes.CDLL(None)
    if is_glibc(library):
        library.mallopt(_ARENA_MAX, MOST)


def is_glibc(library: ctypes.CDLL) -> bool:
    """Tell whether a C library is glibc."""
    return hasattr(library, "gnu_get_libc_version")
