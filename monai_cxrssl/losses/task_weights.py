# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learned task weights by homoscedastic uncertainty (Kendall 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["TaskWeights", "uncertainty_weighted"]


def uncertainty_weighted(loss: Tensor, log_variance: Tensor, known: bool = True) -> Tensor:
    """Return ``exp(-s) * loss + s / 2`` for the log variance s of a task (Kendall et al. 2018, arXiv 1705.07115).

    Without ``known``, where a batch says nothing of the task, s is not moved.
    """
    log_variance = log_variance.to(loss.dtype)
    return torch.exp(-log_variance) * loss + (log_variance / 2 if known else 0.0)


class TaskWeights(nn.Module):
    """Sum the losses of tasks by weights that are learned with the network.

    Args:
        tasks: their names.

    Example:
        >>> losses = {"reconstruction": torch.tensor(0.5), "rotation": torch.tensor(1.0)}
        >>> TaskWeights(list(losses))(losses).item()
        1.5
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.log_variance = nn.Parameter(torch.zeros(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the weighted losses, each a scalar."""
        terms = [uncertainty_weighted(losses[task], s) for task, s in zip(self.tasks, self.log_variance, strict=True)]
        return torch.stack(terms).sum()
