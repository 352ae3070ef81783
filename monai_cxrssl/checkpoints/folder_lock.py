# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError

__all__ = ["hold_folder"]

_held: dict[Path, int] = {}


def _let_go() -> None:
    """In a forked child, which would keep the lock while it outlives a killed run."""
    for handle in _held.values():
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def hold_folder(folder: Path) -> None:
    """Keep a folder for this process until it ends, however that happens; it is made if it is not there.

    The lock is on the folder itself, so no file is left behind. Where the system or the disk has no such locks, nothing
    is kept. The same process may ask again.

    Loader processes do not hold it on: a killed run may be resumed at once.

    Raises:
        ConfigurationError: another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another --output_dir."
        ) from error
    place = folder.resolve()
    # A folder that was deleted and made again is another one.
    if place in _held and os.fstat(_held[place]).st_ino == place.stat().st_ino:
        return
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigurationError(
            f"Another run is writing to {folder}. Wait for its end, or give this one an --output_dir of its own."
        ) from None
    except OSError:  # a disk without locks
        os.close(handle)
        return
    if place in _held:
        os.close(_held[place])
    _held[place] = handle
