# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Distillation loss on a teacher's soft labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["DistillationLoss"]


class DistillationLoss(nn.Module):
    r"""Cross-entropy of the student to the teacher's probabilities, both at one temperature.

    .. math:: L = t^2 \cdot \mathrm{CE}(\mathrm{softmax}(teacher / t), student / t)

    (SimCLRv2, Chen et al. 2020, arXiv 2006.10029, section 2). The factor keeps the size of the gradient from falling as
    the temperature t grows. For multi-label tasks it is the Bernoulli cross-entropy of each class, averaged over the
    classes (our choice). With a labelled loss of the same samples, the result is
    ``mixing_weight * L + (1 - mixing_weight) * supervised``. The teacher gets no gradient.

    Args:
        temperature: t, greater than 0.
        mixing_weight: share of the distillation in the mix, in [0, 1]; 1 for the teacher's labels alone.
        task: ``"multi_class"`` or ``"multi_label"``.

    Raises:
        ConfigurationError: an option that cannot work.

    Example:
        >>> logits = torch.zeros(2, 4)
        >>> round(DistillationLoss(temperature=2.0)(logits, logits).item(), 4)  # 4 log 4
        5.5452
    """

    def __init__(self, temperature: float = 1.0, mixing_weight: float = 1.0, task: str = "multi_class") -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= mixing_weight <= 1:
            raise ConfigurationError(
                f"Distillation has temperature {temperature} and mixing weight {mixing_weight}; expected a temperature "
                "above 0 and a weight in [0, 1]."
            )
        if task not in ("multi_class", "multi_label"):
            raise ConfigurationError(f"The task is {task!r}; expected one of multi_class, multi_label.")
        self.temperature = float(temperature)
        self.mixing_weight = float(mixing_weight)
        self.task = task

    def forward(self, student: Tensor, teacher: Tensor, supervised: Tensor | None = None) -> Tensor:
        """Return the mean loss of a batch, a float32 scalar (float64 for float64 input).

        Args:
            teacher: logits ``(B, C)``, of the student's images and shape.
            supervised: scalar, the loss of the samples that have a label; ``None`` where none has one, and the loss
                is then the distillation alone, unmixed.

        Raises:
            ConfigurationError: when the shapes differ.
        """
        if student.ndim != 2 or student.shape != teacher.shape:
            raise ConfigurationError(
                f"The student gives {tuple(student.shape)} and the teacher {tuple(teacher.shape)}; both must be (B, "
                "classes) of the same classes."
            )
        with torch.autocast(student.device.type, enabled=False):
            precision = torch.promote_types(student.dtype, torch.float32)
            student = student.to(precision) / self.temperature
            teacher = teacher.detach().to(precision) / self.temperature
            if self.task == "multi_class":
                loss = F.cross_entropy(student, teacher.softmax(dim=1))
            else:
                loss = F.binary_cross_entropy_with_logits(student, teacher.sigmoid())
            loss = loss * self.temperature**2
            if supervised is None:
                return loss
            return self.mixing_weight * loss + (1 - self.mixing_weight) * supervised
