"""What glibc's allocator has to be told, so that many TLS connections cost no more than what they use.

uvloop gives each TLS connection a read buffer of 256 KiB, of which a page or two is ever touched.  As long as such a
buffer is fresh from the kernel, the rest costs nothing; made from memory that others have used, it takes all of it.
Another C library may have other ways: then nothing is done.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back_memory", "keep_large_buffers_apart"]

LIBC = ctypes.CDLL(None)
M_MMAP_THRESHOLD = -3
LARGE = 128 * 1024


def keep_large_buffers_apart() -> None:
    """Take large buffers from the kernel, and return them to it.

    That is how glibc begins; but the first time that it frees a very large one, such as that of a password hash, it
    takes the next ones of that size from its heap (mallopt(3), M_MMAP_THRESHOLD).
    """
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(M_MMAP_THRESHOLD, LARGE)


def give_back_memory() -> None:
    """Return the heap's free memory to the kernel, so that the next buffers are not made from it (malloc_trim(3))."""
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
