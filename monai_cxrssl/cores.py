# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""How many processor cores this process may use."""

from __future__ import annotations

import os

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Count the cores granted to this process (containers and job schedulers grant fewer than there are), at least 1;
    where the system does not tell (all but Linux), all of the machine's are counted."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
