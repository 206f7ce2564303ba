"""How the C library treats memory that a step has freed."""

import ctypes

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, on machines without a GPU.

    By default glibc returns the large buffers of every step to the kernel and faults them in again, page by page. A
    library without ``mallopt`` has other habits and is left alone.
    """
    if torch.cuda.is_available():
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large buffers come from the heap,
        mallopt(_M_TRIM_THRESHOLD, -1)  # which does not shrink,
        mallopt(_M_TOP_PAD, 2**26)  # and grows by 64 MB
