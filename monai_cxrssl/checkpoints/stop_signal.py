# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Deferred SIGTERM and SIGINT handling."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["STOPPED_STATUS", "RunStopped", "StopSignal"]

# EX_TEMPFAIL of sysexits.h: not this time, try again. Neither success, nor an error (1), nor a kill (> 128).
STOPPED_STATUS = 75


class RunStopped(SystemExit):
    """The run was asked to stop and has saved its state; ends the process with :data:`STOPPED_STATUS`.

    It is a ``SystemExit``, which neither ignite nor MONAI's config parser wraps: there is no traceback.
    """

    def __init__(self) -> None:
        super().__init__(STOPPED_STATUS)


class StopSignal:
    """Listen for SIGTERM and SIGINT between :meth:`start` and :meth:`end`; the second one ends the process at once.

    Outside the main thread, where Python takes no signals, it hears nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[int, Any] = {}

    @property
    def heard(self) -> bool:
        """Whether a signal has come."""
        return self.name is not None

    def start(self) -> None:
        """Listen from now on."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        self.name = None
        owner = os.getpid()

        def hear(number: int, frame: FrameType | None) -> None:
            if os.getpid() != owner:  # a loader's worker, forked with this handler: the parent ends it
                return
            self.name = signal.Signals(number).name
            for each in self._before:
                signal.signal(each, signal.SIG_DFL)
            # No logging here: the signal may have come in the middle of a line of it.
            os.write(
                2, f"\n{self.name}: the run stops after this iteration; a second signal ends it at once.\n".encode()
            )

        self._before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(self) -> None:
        """Give the signals back to whoever took them before."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
