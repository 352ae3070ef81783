# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The normalised temperature-scaled cross-entropy of contrastive learning, as one matrix product."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["NTXentLoss"]


class _GatherRows(torch.autograd.Function):
    """Concatenate a tensor over all processes; the gradient of every process's copy flows back to its owner."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad.chunk(dist.get_world_size())[dist.get_rank()]


class NTXentLoss(nn.Module):
    r"""Pull the two views of one sample together and push every other sample away.

    For the 2B unit vectors of a batch the loss is the mean over all anchors i, with positive p(i), of

    .. math:: -\log \frac{\exp(z_i \cdot z_{p(i)} / t)}{\sum_{k \neq i} \exp(z_i \cdot z_k / t)}

    (Chen et al. 2020, arXiv 2002.05709, equation 1). It is computed in float32 whatever the input's type, so that
    small temperatures stay finite under autocast.

    Args:
        temperature: the divisor t of the cosine similarities, greater than 0.
        gather: take the embeddings of all processes of ``torch.distributed`` as negatives. Each process returns the
            mean over its own anchors; the average over processes, which ``DistributedDataParallel`` takes, equals the
            loss and the gradient of one process that holds the whole batch. Every process must hold the same B.

    Raises:
        ConfigurationError: when the temperature is not positive.

    Example:
        >>> loss = NTXentLoss(temperature=0.5)
        >>> z = torch.eye(4)
        >>> round(loss(z, z).item(), 4)  # log(e^2 + 6) - 2, cosines 1 and 0
        0.5944
    """

    def __init__(self, temperature: float = 0.1, gather: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigurationError(f"The temperature of NT-Xent must be greater than 0, got {temperature}.")
        self.temperature = float(temperature)
        self.gather = gather

    def forward(self, z1: Tensor, z2: Tensor, group: Tensor | None = None) -> Tensor:
        """Return the loss of a batch of pairs.

        Args:
            z1: embeddings of the first views, ``(B, D)``, any floating type, any length.
            z2: embeddings of the second views, ``(B, D)``.
            group: integer ids ``(B,)``, for instance of patients: two samples of equal id are never negatives of
                each other.

        Returns:
            A float32 scalar.

        Raises:
            ValueError: when the shapes do not match.
        """
        if z1.ndim != 2 or z1.shape != z2.shape:
            raise ValueError(
                f"NT-Xent needs two (B, D) tensors of one shape, got {tuple(z1.shape)} and {tuple(z2.shape)}."
            )
        if group is not None and group.shape != z1.shape[:1]:
            raise ValueError(f"NT-Xent needs one group id per pair: {tuple(group.shape)} ids for {z1.shape[0]} pairs.")
        batch = z1.shape[0]
        with torch.autocast(z1.device.type, enabled=False):
            anchors = F.normalize(torch.cat([z1, z2]).float(), dim=1)
            everyone, ids = anchors, None if group is None else group.repeat(2)
            everyone_ids, offset = ids, 0
            if self.gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                # Rows come back rank by rank, each with its first views before its second views.
                everyone = _GatherRows.apply(anchors)
                everyone_ids = None if ids is None else _GatherRows.apply(ids)
                offset = 2 * batch * dist.get_rank()
            logits = (anchors / self.temperature) @ everyone.T
            rows = torch.arange(2 * batch, device=logits.device)
            positive = offset + (rows + batch) % (2 * batch)
            if ids is None or everyone_ids is None:
                logits[rows, offset + rows] = -torch.inf
            else:
                excluded = ids[:, None] == everyone_ids[None, :]
                excluded[rows, positive] = False
                logits.masked_fill_(excluded, -torch.inf)
            return F.cross_entropy(logits, positive)
