# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One build of a cache at a time, among the processes of a job and among jobs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError

__all__ = ["build_lock"]

logger = logging.getLogger(__name__)


@contextmanager
def build_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder, after waiting for whoever holds it.

    The lock is on the file ``build.lock`` in the folder and goes with its process, however that ends. On systems
    without such locks a single process goes on without.

    Args:
        folder: of the cache; it exists.

    Raises:
        ConfigurationError: several processes, on a system or a disk without locks.
        OSError: the folder cannot be written.
    """
    handle = os.open(folder / "build.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("%s: waiting for another process that is building this cache", folder)
                fcntl.flock(handle, fcntl.LOCK_EX)
        except (ImportError, OSError) as error:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ConfigurationError(
                    f"The disk of {folder} has no file locks ({error}), so {os.environ['WORLD_SIZE']} processes cannot "
                    "agree on who builds the cache; build it first, with the cache command."
                ) from error
            logger.warning("%s: its disk has no file locks (%s); do not start a second build", folder, error)
        yield
    finally:
        os.close(handle)
