# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What every pretext method offers to the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, nn

from monai_cxrssl.networks.encoder import Encoder

__all__ = ["PretextMethod"]


class PretextMethod(nn.Module, ABC):
    """An encoder, the parts that a pretext task adds to it, and the loss of a batch.

    Args:
        seed: of what the method itself draws (corruptions, angles, permutations), see :meth:`generator`.

    Attributes:
        num_views: views of an image that a batch must hold.
    """

    num_views: ClassVar[int] = 1

    def __init__(self, network: Encoder, seed: int = 0) -> None:
        super().__init__()
        self.network = network
        self.seed = int(seed)
        self._draws = 0

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch.

        Return ``loss``, a scalar that carries the gradient, and ``embedding`` ``(N, D)``, detached, watched for
        collapse; where it is known, ``trivial_loss`` too, a scalar: the loss of an answer that knows nothing of the
        image, by which tasks are compared (:func:`~monai_cxrssl.methods.task_difficulty`).

        Args:
            batch: ``image`` ``(B, num_views, 1, H, W)``, float in [0, 1]; ``patient`` ``(B,)`` integer ids; and what
                else a method names.
        """

    def begin(self, epochs: int) -> None:
        """Take note of how many epochs the run has; called once before its first step, or its first after a stop."""

    def after_step(self, progress: float) -> None:
        """Update what no gradient updates (a momentum encoder, a queue) after an optimiser step.

        The progress is the share of the run that is done, in [0, 1], this step included.
        """

    def generator(self, device: torch.device | str) -> torch.Generator:
        """Return a fresh random generator for the next draw.

        Its seed is made of the method's seed, the process and the number of generators asked for so far, which travels
        with the state dict: a resumed run draws what an uninterrupted one would. Drawing on the device where the
        numbers are wanted spares a copy and a wait.
        """
        words = np.random.SeedSequence([self.seed, idist.get_rank(), self._draws]).generate_state(2, np.uint32)
        self._draws += 1
        return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)

    def get_extra_state(self) -> Tensor:
        """Return the count of draws for the state dict."""
        return torch.tensor(self._draws, dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the count of draws of a checkpoint."""
        self._draws = int(state)
