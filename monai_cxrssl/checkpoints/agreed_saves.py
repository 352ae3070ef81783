# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint barrier of a distributed run."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch.distributed as dist

__all__ = ["SaveBarrier", "gather_states", "said_by_first", "state_of_this_process"]

logger = logging.getLogger(__name__)

_LONGEST_WAIT = 100_000


class SaveBarrier:
    """Let all processes of a run find the same iteration to save after, at about the time that the first one wants.

    All count iterations alike, but none sees another's clock, and to ask in every iteration would make a GPU wait. So
    they meet after iterations agreed before. There the first process says that it is time, or after how many iterations
    to meet again: half of those that it expects until then, so that meetings are about as many as that number has
    binary digits.
    """

    def __init__(self) -> None:
        self._next = 0
        self._met: tuple[int, float] | None = None

    def start(self, iteration: int) -> None:
        """Begin, in all processes after the same iteration; the first meeting is after the next one."""
        self._next, self._met = iteration + 1, None

    def due(self, iteration: int, seconds_left: float) -> bool:
        """Whether to save after so many iterations, in all processes alike, by the first one's ``seconds_left``."""
        if idist.get_world_size() == 1:
            return seconds_left <= 0
        if iteration < self._next:
            return False
        wait = said_by_first(self._wait(iteration, seconds_left))
        self._next = iteration + max(1, wait)
        return wait == 0

    def _wait(self, iteration: int, seconds_left: float) -> int:
        now = time.monotonic()
        before, self._met = self._met, (iteration, now)
        if seconds_left <= 0:
            return 0
        if before is None or iteration == before[0]:
            return 1
        each = (now - before[1]) / (iteration - before[0])
        return min(_LONGEST_WAIT, max(1, int(seconds_left / 2 / max(each, 1e-6))))


def said_by_first(number: int) -> int:
    """Return the number that the first process gave, in all of them."""
    return int(idist.broadcast(float(number), src=0)) if idist.get_world_size() > 1 else number  # type: ignore[arg-type]


def gather_states(state: Any) -> list[Any]:
    """Return the states, of tensors in plain containers, of all processes by rank; in one process only its own."""
    if idist.get_world_size() == 1:
        return [state]
    found: list[Any] = [None] * idist.get_world_size()
    dist.all_gather_object(found, state)
    return found


def state_of_this_process(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds for this process alone: ``random``, and ``parts`` by name, often none."""
    first = {"random": state["random"], "parts": {}}
    processes = [first, *state.get("other_processes", [])]
    if len(processes) == idist.get_world_size():
        return processes[idist.get_rank()]
    if idist.get_rank() == 0:
        logger.warning(
            "%s holds the random generators of %d process(es), this run has %d: it goes on, but not as a run that was "
            "never stopped. Resume with as many processes for that.",
            path,
            len(processes),
            idist.get_world_size(),
        )
    return first
