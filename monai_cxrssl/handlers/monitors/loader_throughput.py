# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Say so when the loader keeps the device waiting."""

from __future__ import annotations

import logging
import time
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

__all__ = ["LoaderThroughput"]

logger = logging.getLogger(__name__)


class LoaderThroughput:
    """Publish the share of time that the device waits for images, as ``loader_wait``; advise once if it is large.

    Measured is what lies between asking the loader for a batch and getting it, over the time from an epoch's first
    batch to the end of its last iteration, without the wait for the first, in which workers start up. On a GPU the
    times are those of the device, which may compute while the processor waits. Put it before what records the metrics.

    Args:
        threshold: share of the first epoch, in [0, 1], above which one line of advice is logged.
        cached: whether the images come decoded, out of a cache or from memory; then a cache is not advised.
    """

    def __init__(self, threshold: float = 0.2, cached: bool = False) -> None:
        self.threshold = float(threshold)
        self.cached = bool(cached)
        self._told = False
        self._asked: Any = None
        self._first: Any = None
        self._last: Any = None
        self._waits: list[tuple[Any, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Follow an engine that gets its batches from a loader."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._compute)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    @staticmethod
    def _now(engine: Any) -> Any:
        """Return a mark in time; on a GPU one in the device's queue, which nothing waits for."""
        device = torch.device(getattr(engine.state, "device", None) or "cpu")
        if device.type != "cuda":
            return time.perf_counter()
        mark = torch.cuda.Event(enable_timing=True)
        mark.record(torch.cuda.current_stream(device))
        return mark

    @staticmethod
    def _seconds(begin: Any, end: Any) -> float:
        return end - begin if isinstance(begin, float) else begin.elapsed_time(end) / 1000

    def _start(self, engine: Any) -> None:
        self._asked, self._first, self._last = None, None, None
        self._waits.clear()

    def _ask(self, engine: Any) -> None:
        self._asked = self._now(engine)

    def _get(self, engine: Any) -> None:
        given = self._now(engine)
        if self._first is None:
            self._first = given
        else:
            self._waits.append((self._asked, given))

    def _compute(self, engine: Any) -> None:
        self._last = self._now(engine)

    def _finish(self, engine: Any) -> None:
        if not self._waits:
            return
        if not isinstance(self._last, float):
            self._last.synchronize()
        whole = self._seconds(self._first, self._last)
        waited = sum(self._seconds(asked, given) for asked, given in self._waits) / whole if whole > 0 else 0.0
        share = float(idist.all_reduce(waited, "SUM")) / idist.get_world_size()
        engine.state.metrics["loader_wait"] = share
        if not self._told and share > self.threshold and idist.get_rank() == 0:
            advice = "raise --num_workers"
            if not self.cached:
                advice = f"build a cache with `python -m monai_cxrssl cache` and name it by --cache_dir, or {advice}"
            logger.warning(
                "The device waited %.0f %% of the time for images in epoch %d: %s.",
                100 * share,
                engine.state.epoch,
                advice,
            )
        self._told = True
