# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A sampler's epoch, begun in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Sampler

__all__ = ["ResumableSampler"]


class ResumableSampler(Sampler):
    """Give the draws of another sampler, which are the same each time it is told the same epoch; of one epoch, when
    asked to, only those from some draw on. Its length is that of a whole epoch."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self._start = sampler, 0

    def set_epoch(self, epoch: int) -> None:
        """Tell the other sampler, if it asks for that."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def start_at(self, draws: int) -> None:
        """Leave out the first draws of the next pass, which an earlier run has seen; those after it are whole."""
        self._start = int(draws)

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        return islice(iter(self.sampler), start, None)
