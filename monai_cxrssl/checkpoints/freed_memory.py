# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Give memory that was freed back to the system."""

from __future__ import annotations

import ctypes

__all__ = ["return_freed_memory"]


def return_freed_memory() -> bool:
    """Ask the C library for the pages that it keeps after they were freed; True where it can do so, as glibc can.

    A checkpoint and a probe take and free large buffers between the small ones of training, and glibc keeps what lies
    in between: without this, half-hour runs with a checkpoint every six seconds grew by some 60 MiB per hour, and with
    it one did not (``benchmarks/soak.py``).
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # no such function; on Windows no library of this name
        return False
    trim(0)
    return True
