# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weight decay over a training run."""

from __future__ import annotations

import math

import torch
from ignite.engine import Engine, Events

from monai_cxrssl.errors import ConfigurationError

__all__ = ["CosineWeightDecay"]


class CosineWeightDecay:
    """Move the weight decay along half a cosine from the first to the last iteration, as GMML and DINO do.

    Groups of parameters without weight decay (biases, normalisation) stay without. The value depends on the iteration
    alone, so a resumed run goes on where it was.

    Args:
        optimizer: must have been made with a weight decay other than 0 in the groups that are to follow.
        start, end: weight decay of the first and the last iteration.

    Raises:
        ConfigurationError: when a value is negative, or no group has a weight decay.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, start: float = 0.04, end: float = 0.4) -> None:
        if start < 0 or end < 0:
            raise ConfigurationError(f"Weight decay goes from {start} to {end}; give values of 0 or more.")
        self.optimizer, self.start, self.end = optimizer, float(start), float(end)
        # Numbers, not the groups: loading a state dict gives the optimiser new ones.
        self.groups = [number for number, group in enumerate(optimizer.param_groups) if group["weight_decay"] != 0]
        if not self.groups:
            raise ConfigurationError(
                "No group of the optimiser has a weight decay that could follow a schedule; build the optimiser with "
                f"weight_decay {self.start}."
            )

    def attach(self, engine: Engine) -> None:
        """Set the weight decay at the start of each iteration of a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set the weight decay of the engine's iteration."""
        total = (engine.state.max_epochs or 1) * (engine.state.epoch_length or 1)
        value = self.at((engine.state.iteration - 1) / max(total - 1, 1))
        for number in self.groups:
            self.optimizer.param_groups[number]["weight_decay"] = value

    def at(self, progress: float) -> float:
        """Return the weight decay at ``progress``, the share of the run that is done, in [0, 1]."""
        share = (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2
        return self.start + (self.end - self.start) * share
