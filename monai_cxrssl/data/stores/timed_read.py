# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading with a time limit for stalled network disks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from monai_cxrssl.errors import CXRReadError

__all__ = ["read_in_time"]

Result = TypeVar("Result")


def read_in_time(read: Callable[[str], Result], path: str, seconds: float) -> Result:
    """Return ``read(path)``, or what it raises; CXRReadError when nothing came within ``seconds``.

    The thread that is given up on cannot be ended; it does not keep the process from ending.
    """
    outcome: dict[str, Any] = {}

    def attempt() -> None:
        try:
            outcome["result"] = read(path)
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=attempt, name="reading", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise CXRReadError(path, f"was not read within {seconds:g} s", "Check the disk that it is on.")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
