# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning rate over a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["StagedWarmupCosine", "scaled_learning_rate"]


def scaled_learning_rate(base: float, batch_size: int, rule: str = "sqrt") -> float:
    """Scale a learning rate with the batch size: samples per optimiser step, over all processes.

    ``rule`` is ``"sqrt"`` for base x sqrt(batch) (SimCLRv2's advice for small batches, with base .075), ``"linear"``
    for base x batch / 256, ``"none"`` for base; a ConfigurationError when it is unknown.
    """
    if rule == "sqrt":
        return base * math.sqrt(batch_size)
    if rule == "linear":
        return base * batch_size / 256
    if rule == "none":
        return base
    raise ConfigurationError(f"The learning rate scales by 'sqrt', 'linear' or 'none', not {rule!r}.")


class StagedWarmupCosine(torch.optim.lr_scheduler.LambdaLR):
    """Linear warm-up and cosine decay to 0, begun anew in each stage of a run.

    Step it once per iteration (``monai.handlers.LrScheduleHandler(..., epoch_level=False)``).

    Args:
        optimizer: its current learning rates are the peaks.
        stage_epochs: epochs of each stage; stages of 0 epochs are left out, and one must have some
            (ConfigurationError).
        steps_per_epoch: iterations per epoch; 1 where stages are counted in iterations.
        warmup_epochs: epochs of linear warm-up in each stage, but never more than a tenth of the stage; or those of
            each stage that has epochs, at most the stage itself.
        factors: of each stage's peaks on those of the optimizer, in the order of ``stage_epochs``; 1 by default.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        stage_epochs: Sequence[int],
        steps_per_epoch: int,
        warmup_epochs: float | Sequence[float] = 10,
        factors: Sequence[float] | None = None,
    ) -> None:
        self.stage_steps = [int(epochs) * int(steps_per_epoch) for epochs in stage_epochs if epochs > 0]
        if not self.stage_steps:
            raise ConfigurationError(f"A run needs a stage of at least one epoch, got stages of {list(stage_epochs)}.")
        factors = [1.0] * len(stage_epochs) if factors is None else factors
        self.factors = [factor for factor, epochs in zip(factors, stage_epochs, strict=True) if epochs > 0]
        if isinstance(warmup_epochs, Sequence):
            longest = [int(epochs * steps_per_epoch) for epochs in warmup_epochs]
            self.warmup_steps = [min(pair) for pair in zip(longest, self.stage_steps, strict=True)]
        else:
            self.warmup_steps = [min(int(warmup_epochs * steps_per_epoch), steps // 10) for steps in self.stage_steps]
        super().__init__(optimizer, self._factor)

    def _factor(self, step: int) -> float:
        for length, warmup, peak in zip(self.stage_steps, self.warmup_steps, self.factors, strict=True):
            if step < warmup:
                return peak * (step + 1) / warmup
            if step < length:
                return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(length - warmup, 1)))
            step -= length
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return how far the schedule is; its shape comes from the options of the run that loads it."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where a checkpoint was."""
        self.last_epoch = int(state_dict["last_epoch"])
        self.base_lrs = list(state_dict["base_lrs"])
        rates = [base * self._factor(self.last_epoch) for base in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates
