# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Training paused at a share of its epochs, untested."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.best_checkpoint import BestCheckpoint
from monai_cxrssl.handlers.validation import Validation

__all__ = ["PAUSED", "PausedRun"]

logger = logging.getLogger(__name__)

#: Name of the file in a run's folder.
PAUSED = "paused.json"


class PausedRun:
    """End a training at its first validation from a share of the epochs on, and write what validation said so far.

    Attach it after the handlers whose figures it writes and before
    :class:`~monai_cxrssl.checkpoints.RunCheckpoint`, which then saves this epoch as one of an early stop: the run that
    goes on from there is that of one that was never paused.

    Args:
        validation: of the run.
        best: of the run.
        share: of the epochs, in (0, 1].
        output_dir: folder of :data:`PAUSED`, whose ``best`` is None where no validation gave a finite figure.
    """

    def __init__(self, validation: Validation, best: BestCheckpoint, share: float, output_dir: Path) -> None:
        self.validation, self.best, self.share = validation, best, share
        self.path = Path(output_dir) / PAUSED

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.STARTED, self._pause)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._pause)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _pause(self, engine: Any) -> None:
        validated = self.validation.rows[-1]["epoch"] if self.validation.rows else 0
        if validated == engine.state.epoch and validated >= self.share * engine.state.max_epochs - 1e-9:
            engine.terminate()

    def _write(self, engine: Any) -> None:
        if idist.get_rank() != 0:
            return
        rows = [{k: v if math.isfinite(v) else None for k, v in row.items()} for row in self.validation.rows]
        epoch, epochs, metric = engine.state.epoch, engine.state.max_epochs, self.best.metric
        content = {"pause_at": self.share, "epoch": epoch, "epochs": epochs, "metric": metric}
        content |= {"best": self.best.best, "best_epoch": self.best.best_epoch, "validation": rows}
        write_json(content, self.path)
        best = "no finite value" if self.best.best is None else f"{self.best.best:.4f} of epoch {self.best.best_epoch}"
        logger.info("Paused after epoch %d of %d, untested; best %s: %s.", epoch, epochs, metric, best)
