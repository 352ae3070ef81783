# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run went through, epoch by epoch."""

from __future__ import annotations

import logging
import time
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

__all__ = ["RunHistory"]

logger = logging.getLogger(__name__)

#: Scalars that a method may return beside its loss, and what a row calls their means.
_MEANS = {
    "loss": "loss",
    "accuracy": "pretext_accuracy",
    "reconstruction_loss": "reconstruction_loss",
    "trivial_loss": "trivial_loss",
}
#: What the line of an epoch says of them behind the loss: name, word and digits.
_LOGGED = (
    ("reconstruction_loss", "reconstruction", 4),
    ("trivial_loss", "trivial", 4),
    ("pretext_accuracy", "accuracy", 3),
)


class RunHistory:
    """Record loss, learning rate and speed of every epoch, log one line each, and publish them as engine metrics.

    Put it after the handlers whose metrics it shall record and before those that read ``rows``, which travel with the
    checkpoint, so that a resumed run tells its whole story.

    Args:
        stage_epochs: epochs of each stage by name, in order; each row then names its stage.

    Attributes:
        rows: one dictionary per epoch: ``epoch`` (from 1), ``stage``, ``loss``, ``learning_rate``,
            ``images_per_second`` (samples of the loader, over all processes), ``seconds``, and the engine's other
            scalar metrics; ``pretext_accuracy``, from 0 to 1, where the method answers a question that has an answer;
            ``trivial_loss``, the loss of an answer that nobody had to learn, and ``reconstruction_loss``, the part of
            the loss to compare with it where that is not all of it.
    """

    per_process = True  # within an epoch each process has sums of its own

    def __init__(self, optimizer: torch.optim.Optimizer, stage_epochs: dict[str, int] | None = None) -> None:
        self.optimizer = optimizer
        self.stage_epochs = dict(stage_epochs or {})
        self.rows: list[dict[str, Any]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._samples = 0
        self._started = 0.0
        self._resumed: dict[str, Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Follow an engine whose ``output[0]`` holds ``loss`` and whose batches hold ``image``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def stage(self, epoch: int) -> str:
        """Return the name of the stage that an epoch, counted from 1, belongs to."""
        for name, epochs in self.stage_epochs.items():
            if epoch <= epochs:
                return name
            epoch -= epochs
        return list(self.stage_epochs)[-1] if self.stage_epochs else "training"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and, within an epoch, the sums of what it has been so far, as plain containers."""
        state: dict[str, Any] = {"rows": self.rows}
        if self._sums:
            seconds = time.perf_counter() - self._started
            sums = {name: value.cpu() for name, value in self._sums.items()}
            state["within"] = {"samples": self._samples, "seconds": seconds, "sums": sums}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the rows of a checkpoint."""
        self.rows = [dict(row) for row in state["rows"]]
        self._resumed = state.get("within")

    def _start(self, engine: Any) -> None:
        self._sums, self._samples, self._started = {}, 0, time.perf_counter()
        if self._resumed is not None:
            device = engine.state.device if hasattr(engine.state, "device") else None
            self._sums = {name: value.to(device) for name, value in self._resumed["sums"].items()}
            self._samples = self._resumed["samples"]
            self._started -= self._resumed["seconds"]
            self._resumed = None

    def _add(self, engine: Any) -> None:
        # Summed on the device: reading the number here would make the processor wait for the GPU in every step.
        output = engine.state.output[0]
        for name in _MEANS.keys() & output.keys():
            value = output[name].double()
            self._sums[name] = value if name not in self._sums else self._sums[name] + value
        self._samples += len(engine.state.batch["image"])

    def _finish(self, engine: Any) -> None:
        # The last epoch of a run that counts steps may be shorter.
        iterations = engine.state.iteration - (engine.state.epoch - 1) * engine.state.epoch_length
        # In a fixed order, since the processes meet once for each.
        means = {
            row_name: _mean_over_processes(self._sums[name].item() / iterations)
            for name, row_name in _MEANS.items()
            if name in self._sums
        }
        engine.state.metrics.update(means)
        seconds = time.perf_counter() - self._started
        row = {
            "epoch": engine.state.epoch,
            "stage": self.stage(engine.state.epoch),
            "loss": means["loss"],
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "images_per_second": self._samples * idist.get_world_size() / seconds,
            "seconds": seconds,
        }
        engine.state.metrics.update({name: row[name] for name in ("learning_rate", "images_per_second")})
        others = {name: float(value) for name, value in engine.state.metrics.items() if isinstance(value, (int, float))}
        row = {**others, **row}
        self.rows.append(row)
        self._sums = {}  # a checkpoint after the epoch holds no part of it
        if idist.get_rank() == 0:
            logger.info(
                "epoch %d/%d (%s): loss %.4f,%s learning rate %.3g, %.1f images/s",
                row["epoch"],
                engine.state.max_epochs,
                row["stage"],
                row["loss"],
                "".join(f" {label} {row[name]:.{digits}f}," for name, label, digits in _LOGGED if name in row),
                row["learning_rate"],
                row["images_per_second"],
            )


def _mean_over_processes(value: float) -> float:
    return float(idist.all_reduce(value, "SUM")) / idist.get_world_size()
