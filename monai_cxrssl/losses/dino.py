# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Self-distillation loss of DINO over several views."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["DINOLoss"]


class DINOLoss(nn.Module):
    r"""Cross-entropy of every view of the student to every other global view of the teacher.

    For teacher outputs :math:`t_g` of G global views and student outputs :math:`s_v` of V views, the first G of which
    are the global ones, it is the mean over all pairs with :math:`v \neq g` of

    .. math:: \mathrm{CE}(\mathrm{softmax}((t_g - c) / \tau_t), s_v / \tau_s)

    (Caron et al. 2021, arXiv 2104.14294, equations 2 and 3). The centre c and the temperature :math:`\tau_t` change
    over a run and are the method's. The teacher gets no gradient.

    Args:
        temperature: :math:`\tau_s`, greater than 0.

    Raises:
        ConfigurationError: when it is not.

    Example:
        >>> outputs = torch.zeros(2, 3, 4)
        >>> round(DINOLoss()(outputs, outputs, torch.zeros(4), 0.04).item(), 4)  # log 4
        1.3863
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigurationError(f"The student's temperature of DINO must be greater than 0, got {temperature}.")
        self.temperature = float(temperature)

    def forward(self, student: Tensor, teacher: Tensor, centre: Tensor, teacher_temperature: float) -> Tensor:
        """Return the mean loss, a float32 scalar (float64 for float64 input).

        Args:
            student: ``(V, B, K)``, the global views first.
            teacher: ``(G, B, K)`` of the global views.
            centre: ``(K,)``.
            teacher_temperature: greater than 0.
        """
        with torch.autocast(student.device.type, enabled=False):
            precision = torch.promote_types(student.dtype, torch.float32)
            log_share = (student.to(precision) / self.temperature).log_softmax(-1)
            target = ((teacher.detach().to(precision) - centre) / teacher_temperature).softmax(-1)
            total = log_share.sum(0)
            others = total - log_share[: len(teacher)]
            pairs = len(teacher) * (len(student) - 1)
            return -(target * others).sum(-1).mean(1).sum() / pairs
