# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from monai_cxrssl.checkpoints import freed_memory
from monai_cxrssl.checkpoints.freed_memory import return_freed_memory

BLOCK = 4096


def anonymous_mib() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_between_blocks_in_use_go_back():
    """Blocks too small to be mapped one by one, of which each sixteenth stays, so that the heap cannot shrink."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(BLOCK) for _ in range(20_000)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    kept = blocks[::16]
    for number, block in enumerate(blocks):
        if number % 16:
            library.free(block)
    before = anonymous_mib()
    assert return_freed_memory()
    returned = before - anonymous_mib()
    for block in kept:
        library.free(block)
    assert returned > 0.5 * BLOCK * (len(blocks) - len(kept)) / 2**20


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda name: object())
    assert not return_freed_memory()
