"""Let the C library keep the memory that a training step frees, for the next step.

glibc returns large blocks to the system at once, and gets them back page by page, each of them zeroed: for gradients of
135 million weights that took more time than AdamW's update of them. It is told to hold on to them instead. The peak
stays about what it was, and no figure changes. Other C libraries, and accelerators, have allocators of their own.
"""

import ctypes
import sys

# Names and numbers of malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_MOST = 2**31 - 1
_GROW = 64 << 20


def keep_freed_memory() -> bool:
    """Keep what is freed from now on; says whether this C library can be told so. It holds for the whole process."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    asked = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _GROW))
    return all(library.mallopt(name, value) == 1 for name, value in asked)
