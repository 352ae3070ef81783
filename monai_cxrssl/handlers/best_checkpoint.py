# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Best validated weights and early stopping."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.checkpoints.checkpoint import save_atomically
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.validation import Validation

__all__ = ["BestCheckpoint"]

logger = logging.getLogger(__name__)


class BestCheckpoint:
    """Write a network's weights whenever a validation figure is the best so far; end the run when it stays behind.

    Attach it after its :class:`~monai_cxrssl.handlers.validation.Validation` and before
    :class:`~monai_cxrssl.checkpoints.RunCheckpoint`, among whose parts both belong: a resumed run then takes the
    decisions of an uninterrupted one, and one that had stopped stays stopped.

    Args:
        network: the one that is evaluated.
        path: the file, a plain state dict on the CPU.
        metric: a figure of the validation: ``val_macro_auc``, ``val_dice``, ``val_auc_<class>`` …
        patience: validations without a better value after which training ends; ``None`` to train to the end.
        min_delta: what a value must be better by.

    Attributes:
        best: the best value, ``None`` before the first validation, and ``best_epoch`` its epoch.

    Raises:
        ConfigurationError: a metric that is not of the validation split, a patience below 1; from the run: validation
            did not yield the metric.
    """

    def __init__(
        self,
        validation: Validation,
        network: nn.Module,
        path: str | os.PathLike,
        metric: str = "val_macro_auc",
        patience: int | None = None,
        min_delta: float = 0.0,
        higher_is_better: bool = True,
    ) -> None:
        if not metric.startswith("val_"):
            raise ConfigurationError(
                f"The best weights are chosen by {metric!r}; choose a figure of the validation split, such as "
                "'val_macro_auc' or 'val_dice'."
            )
        if patience is not None and patience < 1:
            raise ConfigurationError(
                f"patience is {patience}; give 1 or more validations, or null to go on to the end."
            )
        self.validation = validation
        self.network = network
        self.path = Path(path)
        self.metric = metric
        self.patience = patience
        self.min_delta = float(min_delta)
        self.higher_is_better = bool(higher_is_better)
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.STARTED, self._stay_stopped)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._compare)

    def state_dict(self) -> dict[str, Any]:
        """Return what has been best, as plain values."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what had been best at a checkpoint."""
        self.best, self.best_epoch, self.waited = state["best"], int(state["best_epoch"]), int(state["waited"])

    def _stay_stopped(self, engine: Engine) -> None:
        if self._exhausted():
            logger.info("Training had ended: no better %s since epoch %d.", self.metric, self.best_epoch)
            engine.terminate()

    def _exhausted(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def _compare(self, engine: Any) -> None:
        row = self.validation.rows[-1] if self.validation.rows else {}
        if row.get("epoch") != engine.state.epoch:
            return
        if self.metric not in row:
            found = ", ".join(sorted(set(row) - {"epoch"})) or "nothing"
            raise ConfigurationError(
                f"The best weights are chosen by {self.metric!r}, but validation gave {found}: there is no such figure "
                "or the split has no labels or masks to assess it by. Choose another metric, or bring such images."
            )
        value = row[self.metric]
        if self._is_better(value):
            self.best, self.best_epoch, self.waited = value, engine.state.epoch, 0
            if idist.get_rank() == 0:
                state = self.network.state_dict()
                weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
                save_atomically(weights, self.path)
            return
        self.waited += 1
        if self._exhausted():
            if idist.get_rank() == 0:
                logger.info(
                    "Training ends after epoch %d: the last %d validations brought no better %s than %s of epoch %d.",
                    engine.state.epoch,
                    self.waited,
                    self.metric,
                    "none" if self.best is None else f"{self.best:.4f}",
                    self.best_epoch,
                )
            engine.terminate()

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best is None:
            return True
        gain = value - self.best if self.higher_is_better else self.best - value
        return gain > self.min_delta
