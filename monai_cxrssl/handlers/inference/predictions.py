# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handler that collects the predictions of an evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

__all__ = ["PredictionHandler"]


class PredictionHandler(ABC):
    """Base of handlers that use an evaluator's predictions of all ``images``, in the order of its data."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._rows: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output holds ``pred`` ``(B, D)``; finish when it completes."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._complete)

    @abstractmethod
    def finish(self, predictions: np.ndarray) -> None:
        """Use the predictions, float32 ``(N, D)``."""

    def _start(self, engine: Any) -> None:
        self._rows.clear()

    def _add(self, engine: Any) -> None:
        self._rows.append(engine.state.output["pred"].detach().float().cpu())

    def _complete(self, engine: Any) -> None:
        predictions = torch.cat(self._rows).numpy()
        if len(predictions) != self.images:
            raise RuntimeError(f"{len(predictions)} predictions for {self.images} images.")
        self.finish(predictions)
