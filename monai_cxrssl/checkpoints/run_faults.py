# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sentences for full disks, lost memory and dead workers."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch

__all__ = ["describe_fault"]

_DISK = {
    errno.ENOSPC: "The disk is full; free some space",
    errno.EDQUOT: "The disk quota is used up; free some space",
    errno.EROFS: "The file system is read-only; choose another --output_dir",
    errno.EACCES: "The folder may not be written; give this user the right to, or choose another --output_dir",
    errno.EPERM: "The folder may not be written; give this user the right to, or choose another --output_dir",
    errno.EIO: "The disk reports an input/output error; check it, or choose another --output_dir",
    errno.EFBIG: "The file is larger than this process may write; raise its limit (ulimit -f)",
    errno.ENOTDIR: "A part of the path is a file, not a folder; choose another --output_dir",
    errno.ESTALE: "The network disk has lost the file; check its connection",
}
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "insufficient memory")


def describe_fault(error: BaseException | None) -> str | None:
    """Say in one or two sentences what the machine did, as the error or what lies behind it tells, or ``None``."""
    for link in _chain(error):
        words = str(link).lower()
        # A failed allocation of torch is a RuntimeError of its own on a GPU, a plain one on a CPU.
        if isinstance(link, torch.OutOfMemoryError) or (
            isinstance(link, RuntimeError) and any(phrase in words for phrase in _NO_MEMORY[:3])
        ):
            where = "processor" if "cpuallocator" in words.replace(" ", "") else "device"
            return (
                f"The memory of the {where} is used up. Lower --batch_size, and raise --accumulation_steps by the same "
                "factor to keep the step; contrastive methods keep their negatives with "
                "--train#trainer#gradient_cache_chunk. A smaller --image_size helps too."
            )
        if isinstance(link, MemoryError) or _NO_MEMORY[3] in words:
            return (
                "The memory of this machine is used up. Lower --num_workers or --batch_size, or let the images lie on "
                "disk with --cache_dir."
            )
        if isinstance(link, RuntimeError) and "dataloader worker" in words and "timed out" not in words:
            return (
                f"A process that loads data has died ({_first_line(link)}). Often the memory is used up, or the shared "
                "memory of a container is small (docker run --shm-size): lower --num_workers, or set it to 0."
            )
        if isinstance(link, RuntimeError) and "dataloader timed out" in words:
            return (
                f"No batch came in time ({_first_line(link)}): a file or the disk that it is on does not answer. Check "
                "the disk, or build a cache on a local one with --cache_dir."
            )
        if isinstance(link, OSError) and link.errno in _DISK:
            named = f" ({link.filename})" if link.filename else ""
            return f"{_DISK[link.errno]}{named}."
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
