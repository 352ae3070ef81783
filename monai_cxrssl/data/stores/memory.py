# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How much memory this process may still take, container limits included."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_memory"]

# Where a control group (a container) tells its limit, and its statistics; version 2, then version 1.
CONTROL_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat"), "anon"),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.stat"), "rss"),
)


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that can be taken without swapping, or ``None`` where the system does not tell: by ``meminfo``, the
    kernel's table (Linux); elsewhere by the count of physical pages."""
    free = _table(meminfo).get("MemAvailable")
    if free is not None:
        candidates = [free * 1024]
    else:
        candidates = _physical_pages()
    for limit_file, statistics, used in CONTROL_GROUPS:
        try:
            limit = int(limit_file.read_text())
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
        candidates.append(max(limit - _table(statistics).get(used, 0), 0))
    return min(candidates) if candidates else None


def _table(path: Path) -> dict[str, int]:
    """The ``name value`` lines of a kernel file."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    rows = [line.replace(":", " ").split() for line in lines]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _physical_pages() -> list[int]:
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            pages = os.sysconf(name)
            return [pages * os.sysconf("SC_PAGE_SIZE")]
        except (AttributeError, ValueError, OSError):
            continue
    return []
