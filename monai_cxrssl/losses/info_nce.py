# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""InfoNCE loss with a queue of negatives (MoCo)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["InfoNCELoss"]


class InfoNCELoss(nn.Module):
    r"""Pull each query to its own key and push it from the keys of a queue.

    For unit vectors the loss is the mean over all queries q, with their keys k and the queue's keys n_j, of

    .. math:: -\log \frac{\exp(q \cdot k / t)}{\exp(q \cdot k / t) + \sum_j \exp(q \cdot n_j / t)}

    (He et al. 2020, arXiv 1911.05722, equation 1). It is computed in float32 whatever the input's type, so that small
    temperatures stay finite under autocast. The divisor t, 0.2 in MoCo v2, is greater than 0 (ConfigurationError).

    Example:
        >>> loss = InfoNCELoss(temperature=0.5)
        >>> q = torch.eye(4)[:2]
        >>> round(loss(q, q, queue=torch.eye(4)[:, 2:]).item(), 4)  # log(e^2 + 2) - 2, cosines 1 and 0
        0.2395
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigurationError(f"The temperature of InfoNCE must be greater than 0, got {temperature}.")
        self.temperature = float(temperature)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        queue: Tensor,
        query_group: Tensor | None = None,
        queue_group: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch of queries, a float32 scalar.

        Args:
            query: ``(B, D)``, any floating type, any length.
            key: ``(B, D)``, the positives; no gradient reaches them.
            queue: ``(D, K)``, unit vectors in columns, the negatives; no gradient reaches them. K may be 0.
            query_group: integer ids ``(B,)``, for instance of patients.
            queue_group: integer ids ``(K,)``: an entry of a query's own id is not its negative.
            valid: booleans ``(K,)``; entries that are false are nobody's negatives. ``None`` for all true.

        Raises:
            ValueError: when the shapes do not match, or one of the two groups is missing.
        """
        batch, length = query.shape if query.ndim == 2 else (-1, -1)
        if key.shape != query.shape or queue.ndim != 2 or queue.shape[0] != length:
            raise ValueError(
                "InfoNCE needs queries (B, D), keys (B, D) and a queue (D, K), got "
                f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(queue.shape)}."
            )
        if (query_group is None) != (queue_group is None):
            raise ValueError("InfoNCE needs the group ids of both queries and queue, or of neither.")
        for name, flags, expected in (
            ("query_group", query_group, batch),
            ("queue_group", queue_group, queue.shape[1]),
            ("valid", valid, queue.shape[1]),
        ):
            if flags is not None and flags.shape != (expected,):
                raise ValueError(f"InfoNCE needs {expected} values in {name}, got the shape {tuple(flags.shape)}.")
        with torch.autocast(query.device.type, enabled=False):
            anchors = F.normalize(query.float(), dim=1) / self.temperature
            positive = (anchors * F.normalize(key.detach().float(), dim=1)).sum(1, keepdim=True)
            logits = torch.cat([positive, anchors @ queue.detach().float()], dim=1)
            excluded = None
            if query_group is not None and queue_group is not None:
                excluded = query_group[:, None] == queue_group[None, :]
            if valid is not None:
                excluded = ~valid[None, :] if excluded is None else excluded | ~valid[None, :]
            if excluded is not None:
                logits[:, 1:].masked_fill_(excluded, -torch.inf)
            return F.cross_entropy(logits, torch.zeros(batch, dtype=torch.int64, device=logits.device))
