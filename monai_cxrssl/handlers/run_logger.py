# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Attachment of ignite's experiment loggers (Weights & Biases, ClearML)."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger

__all__ = ["RunLogger"]


class RunLogger:
    """Log the loss of every iteration and the metrics of every epoch by one of ignite's loggers.

    An ignite logger is attached by calls, a bundle's handlers by their place in ``train#handlers``; this makes one of
    the other. Put it last, behind the handlers that publish metrics. All steps count iterations, since Weights & Biases
    drops a step that is lower than the one before.

    Args:
        logger: such as ``ignite.handlers.WandBLogger(project="cxr")`` or ``ignite.handlers.ClearMLLogger()``.
        every: iterations between logs of the loss, each of which waits for the device; 0 for none.

    Example:
        In a config, ``{"_target_": "monai_cxrssl.handlers.RunLogger", "logger": {"_target_":
        "ignite.handlers.WandBLogger", "project": "cxr"}}``.
    """

    def __init__(self, logger: BaseLogger, every: int = 10) -> None:
        self.logger = logger
        self.every = int(every)

    def attach(self, engine: Engine) -> None:
        """Follow a trainer, whose ``output[0]`` holds ``loss``, or a curriculum; close the logger at the end."""
        if self.every > 0:
            self.logger.attach_output_handler(
                engine,
                Events.ITERATION_COMPLETED(every=self.every),
                tag="train",
                output_transform=lambda output: {"loss": output[0]["loss"].item()},
                global_step_transform=_iteration,
            )
        self.logger.attach_output_handler(
            engine, Events.EPOCH_COMPLETED, tag="epoch", metric_names="all", global_step_transform=_iteration
        )
        engine.add_event_handler(Events.COMPLETED, lambda engine: self.logger.close())


def _iteration(engine: Any, event: Any) -> int:
    return engine.state.iteration
