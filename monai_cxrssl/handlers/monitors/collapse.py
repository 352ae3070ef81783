# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Watch whether embeddings still tell images apart."""

from __future__ import annotations

import logging
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events

__all__ = ["CollapseMonitor"]

logger = logging.getLogger(__name__)


class CollapseMonitor:
    """Publish the spread of the embeddings as ``embedding_std`` and warn in words when they collapse to one point.

    The spread is the standard deviation over the batch of each dimension of the unit-length embeddings, averaged over
    dimensions and multiplied by the square root of their number: 1 for embeddings spread evenly over the sphere, 0 when
    all are equal (the measure of Chen & He 2021, arXiv 2011.10566, section 4.1, made independent of the length). Below
    ``threshold`` it warns, after ``patience`` epochs, since random networks begin nearly collapsed.
    """

    def __init__(self, threshold: float = 0.1, patience: int = 5) -> None:
        self.threshold = threshold
        self.patience = patience
        self._sum: torch.Tensor | None = None
        self._count = 0

    def attach(self, engine: Engine) -> None:
        """Follow an engine whose ``output[0]`` holds ``embedding`` ``(N, D)``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._sum, self._count = None, 0

    def _add(self, engine: Any) -> None:
        embedding = F.normalize(engine.state.output[0]["embedding"].float(), dim=1)
        if len(embedding) < 2:
            return
        spread = embedding.std(dim=0, correction=0).mean() * embedding.shape[1] ** 0.5
        self._sum = spread if self._sum is None else self._sum + spread
        self._count += 1

    def _finish(self, engine: Any) -> None:
        if self._sum is None:
            return
        spread = float(idist.all_reduce(self._sum.item() / self._count, "SUM")) / idist.get_world_size()
        engine.state.metrics["embedding_std"] = spread
        if spread < self.threshold and engine.state.epoch > self.patience and idist.get_rank() == 0:
            logger.warning(
                "The embeddings are collapsing: their spread is %.3f after epoch %d (1 is evenly spread, 0 is one "
                "point). The encoder hardly tells images apart; lower the learning rate, raise the batch size, or "
                "check that the images differ.",
                spread,
                engine.state.epoch,
            )
