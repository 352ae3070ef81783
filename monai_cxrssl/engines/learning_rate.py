# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning rate range test of a trainer."""

from __future__ import annotations

from typing import Any

import torch
from monai.optimizers import LearningRateFinder
from torch import Tensor, nn

from monai_cxrssl.engines.trainer import MethodTrainer

__all__ = ["find_learning_rate"]


class _Loss(nn.Module):
    """What a trainer computes of a prepared batch, in its precision."""

    def __init__(self, trainer: MethodTrainer) -> None:
        super().__init__()
        self.method = trainer.method
        self._trainer = [trainer]  # in a list, so that it is no part of the module

    def forward(self, batch: dict[str, Any]) -> Tensor:
        (trainer,) = self._trainer
        with trainer._autocast():
            return trainer.inferer(batch, trainer.method)["loss"]  # type: ignore[arg-type]


def find_learning_rate(
    trainer: MethodTrainer,
    start_lr: float = 1e-7,
    end_lr: float = 1.0,
    num_iter: int = 100,
    smooth_f: float = 0.05,
    verbose: bool = True,
) -> LearningRateFinder:
    """Raise the learning rate step by step, by MONAI's ``LearningRateFinder``, and see when the loss falls and rises.

    Weights, optimiser, learning rates and torch's random generators are afterwards what they were before. MONAI's
    class by itself refuses an optimiser that has a schedule, and takes networks of one input and one output.

    Args:
        trainer: ``train#trainer`` of a bundle, or ``stage.build(...).trainer`` of a curriculum's stage. Its
            ``accumulation_steps`` count.
        start_lr: first learning rate.
        end_lr: last learning rate, unless the loss diverges before.
        num_iter: steps.
        smooth_f: weight of the newest loss in the running mean, from 0, no mean, to below 1.
        verbose: show a progress bar.

    Returns:
        The finder: ``history`` (``lr``, ``loss``), ``get_steepest_gradient()``, ``plot()``.
    """
    optimizer, method, device = trainer.optimizer, trainer.unwrapped_method, trainer.state.device
    scheduled: list[dict[str, Any]] = [
        {name: group[name] for name in ("lr", "initial_lr") if name in group} for group in optimizer.param_groups
    ]
    for group in optimizer.param_groups:
        group.pop("initial_lr", None)
    steps = iter(range(1, num_iter + 1))
    after = optimizer.register_step_post_hook(lambda *_: method.after_step(next(steps) / num_iter))

    def prepared(batch: dict[str, Any]) -> dict[str, Any]:
        check = getattr(method, "check_batch", None)
        return trainer.prepare_batch(batch if check is None else check(batch), device, trainer.non_blocking)

    finder = LearningRateFinder(_Loss(trainer), optimizer, lambda loss, _: loss, device, verbose=verbose)  # type: ignore[arg-type]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            finder.range_test(
                trainer.data_loader,  # type: ignore[arg-type]
                image_extractor=prepared,
                label_extractor=lambda batch: torch.zeros(()),
                start_lr=start_lr,
                end_lr=end_lr,
                num_iter=num_iter,
                smooth_f=smooth_f,
                accumulation_steps=trainer.accumulation_steps,
                auto_reset=False,
            )
    finally:
        finder.reset()
        after.remove()
        optimizer.zero_grad(set_to_none=True)
        for group, values in zip(optimizer.param_groups, scheduled, strict=True):
            group.update(values)
    return finder
