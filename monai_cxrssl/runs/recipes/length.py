# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Length of a fine-tuning run in epochs or optimiser steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["VALIDATIONS", "RunLength"]

#: Of a run that counts steps; each ends what the log calls an epoch.
VALIDATIONS = 20


@dataclass(frozen=True)
class RunLength:
    """How long a run is. An iteration is a batch of each process; accumulated ones are one step of the optimiser.

    Args:
        epochs: at whose ends is validated and saved.
        epoch_iterations: of each but the last, which may be shorter.
        iterations: of the run.
        steps: of the optimiser.
        frozen: iterations at the beginning in which only the heads learn.
        draws: images of an epoch over all processes; ``None`` for those of one pass over the data.
        passes: over the data, about.
    """

    epochs: int
    epoch_iterations: int
    iterations: int
    steps: int
    frozen: int
    draws: int | None
    passes: float

    @classmethod
    def of_epochs(cls, epochs: int, batches: int, accumulated: int, frozen_share: float) -> RunLength:
        """Count passes over the data.

        Args:
            epochs: passes.
            batches: of a pass and process.
            accumulated: batches per step.
            frozen_share: of the run.
        """
        iterations = epochs * batches
        steps = epochs * math.ceil(batches / accumulated)
        return cls(epochs, batches, iterations, steps, int(frozen_share * iterations), None, epochs)

    @classmethod
    def of_steps(cls, steps: int, batch: int, images: int, accumulated: int, frozen_share: float) -> RunLength:
        """Count steps, whatever part of the data or however many passes over it they are.

        Args:
            steps: of the optimiser.
            batch: images of an iteration over all processes.
            images: of a pass.
            accumulated: batches per step.
            frozen_share: of the run.
        """
        each = math.ceil(steps / VALIDATIONS)
        iterations = steps * accumulated
        return cls(
            math.ceil(steps / each), each * accumulated, iterations, steps, int(frozen_share * steps) * accumulated,
            each * accumulated * batch, iterations * batch / max(images, 1),
        )  # fmt: skip
