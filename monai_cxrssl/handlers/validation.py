# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Validate a network between the epochs of its training."""

from __future__ import annotations

import json
import logging
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.engines import Evaluator

from monai_cxrssl.errors import ConfigurationError

__all__ = ["Validation"]

logger = logging.getLogger(__name__)


class Validation:
    """Run an evaluator after every so many epochs and the last one; its figures become ``val_<name>`` of the trainer.

    The first process evaluates the whole split and tells the others, so that all take the same decisions by it. After
    epochs without a validation the trainer has no such figures. Attach it before the handlers that go by them. An
    ``every`` below 1 is a ConfigurationError.

    Args:
        evaluator: over the validation split, such as :class:`monai_cxrssl.engines.MultiTaskPredictor`, of the very
            network that is to be kept.

    Attributes:
        rows: one dictionary per validation: ``epoch`` and the figures, kept by checkpoints.
    """

    def __init__(self, evaluator: Evaluator, every: int = 1) -> None:
        if every < 1:
            raise ConfigurationError(f"every is {every}; validate after every 1 or more epochs.")
        self.evaluator = evaluator
        self.every = int(every)
        self.rows: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        """Validate between the epochs of a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._validate)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, as plain containers."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the rows of a checkpoint."""
        self.rows = [dict(row) for row in state["rows"]]

    @staticmethod
    def _forget(engine: Any) -> None:
        for name in [name for name in engine.state.metrics if name.startswith("val_")]:
            del engine.state.metrics[name]

    def _validate(self, engine: Any) -> None:
        epoch = engine.state.epoch
        if epoch % self.every and epoch != engine.state.max_epochs:
            return
        text = ""
        if idist.get_rank() == 0:
            self.evaluator.run(epoch)
            text = json.dumps({f"val_{name}": float(value) for name, value in self.evaluator.state.metrics.items()})
        if idist.get_world_size() > 1:
            text = str(idist.broadcast(text, src=0, safe_mode=True))
        figures: dict[str, float] = json.loads(text)
        engine.state.metrics.update(figures)
        self.rows.append({"epoch": epoch, **figures})
        if idist.get_rank() == 0:
            shown = ", ".join(f"{name[4:]} {value:.4f}" for name, value in figures.items())
            logger.info("validation after epoch %d: %s", epoch, shown or "nothing could be assessed")
