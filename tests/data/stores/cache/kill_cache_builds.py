# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kill a cache build at every write, rename, removal and sync, run it again, compare: ``ITEMS.json WHOLE SCRATCH``.

A program of its own, because only a process that never had a thread can fork safely: each build is a fork of it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

from monai_cxrssl.data import CachedImages, build_cache
from monai_cxrssl.errors import ConfigurationError


def build_in_fork(items, folder, side, block, die_at=0):
    """Build; at event ``die_at`` die, half of a write being done. Returns the exit code of the process."""
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        count, write = 0, os.write

        def deadly(function):
            def call(*arguments, **options):
                nonlocal count
                count += 1
                if count == die_at:
                    if function is write:
                        data = memoryview(arguments[1])
                        write(arguments[0], data[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)

            return call

        for name in ("write", "fsync", "replace", "unlink", "ftruncate"):
            setattr(os, name, deadly(getattr(os, name)))
        status = 1
        try:
            status = not build_cache(items, folder, side, workers=2, block_images=block, progress=False).complete
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_published(folder):
    try:
        CachedImages(folder)
    except ConfigurationError:
        return False
    return True


def main():
    items_file, whole, scratch, side, block = sys.argv[1:]
    items = json.loads(Path(items_file).read_text())
    expected = contents(Path(whole))
    for event in range(1, 500):
        folder = Path(scratch) / str(event)
        code = build_in_fork(items, folder, int(side), int(block), event)
        if code == 0:  # the build has fewer events than this
            break
        assert code == -signal.SIGKILL, f"event {event}: exit code {code}"
        if is_published(folder):
            assert contents(folder) == expected, f"published too early: killed at event {event}"
        code = build_in_fork(items, folder, int(side), int(block), 7)  # and once more, while going on
        assert code in (0, -signal.SIGKILL), f"event {event}: exit code {code}"
        assert build_in_fork(items, folder, int(side), int(block)) == 0
        assert contents(folder) == expected, f"killed at event {event}"
    print(event - 1)


if __name__ == "__main__":
    main()
