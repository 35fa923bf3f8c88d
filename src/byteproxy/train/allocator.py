"""Let the C library keep the memory that a training step frees, for the next step.

glibc returns large blocks to the system at once, and gets them back page by page, each of them zeroed: for gradients of
135 million weights that took more time than AdamW's update of them. It is told to hold on to them instead. The peak
stays about what it was, and no figure changes. What was done before a training leaves holes that its own blocks don't
fit into, so these are given back before it begins. Other C libraries, and accelerators, have allocators of their own.
"""

import ctypes
import sys

# Names and numbers of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_MOST = 2**31 - 1
_GROW = 64 << 20


def keep_freed_memory() -> bool:
    """Keep what is freed from now on; says whether this C library can be told so. It holds for the whole process."""
    library = _glibc()
    asked = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _GROW))
    return library is not None and all(library.mallopt(name, value) == 1 for name, value in asked)


def give_back_freed_memory() -> bool:
    """Return what is free now to the system, kept or not; says whether this C library gave something back."""
    library = _glibc()
    return library is not None and library.malloc_trim(0) == 1


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return library if hasattr(library, "gnu_get_libc_version") else None
