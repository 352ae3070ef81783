# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn
from torch.utils.data import DataLoader

from monai_cxrssl.engines.trainer import MethodTrainer
from monai_cxrssl.errors import ConfigurationError

__all__ = ["MultiTaskTrainer"]


class MultiTaskTrainer(MethodTrainer):
    """Train a network for classification, segmentation or both, with MONAI's and ignite's events.

    A step is that of :class:`~monai_cxrssl.engines.trainer.MethodTrainer`, which takes the further options: precision,
    accumulation, clipping, data-parallel training and exact resuming are the same. ``engine.state.output[0]`` holds
    ``loss``, ``label_loss``, ``mask_loss``, ``label_logits`` and ``mask_logits``, without a graph.

    For its first ``frozen_iterations`` the encoder may be frozen, so that new heads do not disturb what pretraining
    learnt (LP-FT: Kumar et al. 2022, arXiv 2202.10054); its weights and the statistics of its batch normalisation stay
    bit-identical meanwhile. Nothing of this is state: an iteration's number tells whether the encoder is frozen in it.

    Args:
        train_data_loader: batches of :class:`monai_cxrssl.data.FineTuningImages`.
        method: a :class:`~monai_cxrssl.methods.fine_tuning.FineTuningMethod`, bare or wrapped for data-parallel
            training.
        optimizer: over the method's parameters, see :func:`~monai_cxrssl.optim.layer_decay.layer_decay_groups`.

    Raises:
        ConfigurationError: ``frozen_iterations`` is negative, or what ``MethodTrainer`` raises.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable | DataLoader,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        frozen_iterations: int = 0,
        **options: Any,
    ) -> None:
        if frozen_iterations < 0:
            raise ConfigurationError(f"frozen_iterations must be 0 or more, got {frozen_iterations}.")
        self.frozen_iterations = int(frozen_iterations)
        super().__init__(device, max_epochs, train_data_loader, method, optimizer, **options)
        self.add_event_handler(Events.ITERATION_STARTED, self._freeze)
        self.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._discard)

    def _freeze(self, engine: Engine) -> None:
        method = self.unwrapped_method
        frozen = engine.state.iteration <= self.frozen_iterations
        if frozen != method.encoder_frozen:
            method.freeze_encoder(frozen, save_gradients=self.method is method)

    def _discard(self, engine: Engine) -> None:
        self.unwrapped_method.discard_frozen_gradients()
