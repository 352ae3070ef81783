# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stop before a loss that is not a number reaches the weights."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from monai_cxrssl.errors import TrainingError

__all__ = ["StopOnInvalidLoss"]


class StopOnInvalidLoss:
    """End the run with an error when the loss is NaN or infinite, before its gradient is taken.

    On a GPU the loss is looked at every ``interval`` iterations, since each look waits for the device.

    Args:
        interval: iterations between looks on a GPU; on a CPU every loss is looked at.

    Raises:
        TrainingError: from the engine's run, naming epoch, iteration and the samples of the batch.
    """

    def __init__(self, interval: int = 20) -> None:
        self.interval = max(1, int(interval))

    def attach(self, engine: Engine) -> None:
        """Follow an engine that fires MONAI's ``LOSS_COMPLETED`` with the loss in its output."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._check)

    def _check(self, engine: Any) -> None:
        loss = engine.state.output["loss"]
        if loss.is_cuda and engine.state.iteration % self.interval:
            return
        if torch.isfinite(loss).all():
            return
        samples = engine.state.batch.get("index")
        named = "" if samples is None else f" The batch held the samples {samples.tolist()}."
        raise TrainingError(
            f"The loss is {loss.item()} in epoch {engine.state.epoch}, iteration {engine.state.iteration}, on process "
            f"{idist.get_rank()}; the weights were not changed by it.{named} Lower the learning rate, lengthen the "
            "warm-up, or use --amp false; then continue from the last checkpoint with --resume auto."
        )
