# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""NT-Xent loss of contrastive learning, computed in blocks."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from monai_cxrssl.errors import ConfigurationError

__all__ = ["NTXentLoss"]

#: Similarities that are held at a time: on a processor what its cache holds, on a GPU enough to keep it busy.
_HELD_AT_ONCE = {"cpu": 2**19, "other": 2**25}


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


class _UnitRows(torch.autograd.Function):
    """Rows of length 1. ``F.normalize`` is the same; its graph of single steps costs three times the backward pass."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(1e-12)
        unit = rows / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        along = (grad * unit).sum(1, keepdim=True)
        return torch.addcmul(grad, unit, along, value=-1).div_(length)


class _BlockedCrossEntropy(torch.autograd.Function):
    """The mean cross-entropy of rows of similarities, a block of rows at a time.

    A graph over the whole matrix of similarities keeps three of its size. Here each block gives its part of the loss
    and, at once, its part of the gradient at the embeddings; the matrix products are the same ones.
    """

    @staticmethod
    def forward(ctx, anchors, everyone, ids, everyone_ids, offset, temperature) -> Tensor:
        # anchors (N, D) and everyone (M, D) are unit vectors; anchor i is row offset + i of everyone. Two vectors are
        # no negatives of each other when their ids (N,) and (M,) are equal, without ids only when they are the same.
        # Without everyone the anchors are compared with each other.
        alone = everyone is None
        everyone = anchors if alone else everyone
        count, learns = anchors.shape[0], any(ctx.needs_input_grad)
        held = _HELD_AT_ONCE.get(anchors.device.type, _HELD_AT_ONCE["other"])
        step = max(1, held // everyone.shape[0])
        scaled = anchors / temperature
        positive = (torch.arange(count, device=anchors.device) + count // 2)[:, None] % count + offset
        total = anchors.new_zeros(())
        if learns:
            anchor_grad, everyone_grad = torch.empty_like(anchors), torch.zeros_like(everyone)
        whole = alone and step >= count
        for start in range(0, count, step):
            rows = slice(start, start + step)
            logits = scaled[rows] @ everyone.T
            if ids is None:
                logits.diagonal(offset + start).fill_(-torch.inf)
            else:
                excluded = ids[rows, None] == everyone_ids[None, :]
                excluded.scatter_(1, positive[rows], False)
                logits.masked_fill_(excluded, -torch.inf)
            log_share = F.log_softmax(logits, dim=1)
            del logits
            total -= log_share.gather(1, positive[rows]).sum()
            if learns:
                slope = log_share.exp_()
                slope.scatter_add_(1, positive[rows], slope.new_full((slope.shape[0], 1), -1.0))
                if whole:
                    # Each vector is both an anchor and compared with: one product instead of two.
                    slope += slope.T.contiguous()
                torch.mm(slope, everyone, out=anchor_grad[rows])
                if not whole:
                    everyone_grad.addmm_(slope.T, scaled[rows])
        if learns:
            anchor_grad.div_(temperature * count)
            if alone:
                ctx.save_for_backward(anchor_grad if whole else anchor_grad.add_(everyone_grad, alpha=1 / count))
            else:
                ctx.save_for_backward(anchor_grad, everyone_grad.div_(count))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        grads = [value * grad for value in ctx.saved_tensors]
        return grads[0], grads[1] if len(grads) > 1 else None, None, None, None, None


class NTXentLoss(nn.Module):
    r"""Pull the two views of one sample together and push every other sample away.

    For the 2B unit vectors of a batch the loss is the mean over all anchors i, with positive p(i), of

    .. math:: -\log \frac{\exp(z_i \cdot z_{p(i)} / t)}{\sum_{k \neq i} \exp(z_i \cdot z_k / t)}

    (Chen et al. 2020, arXiv 2002.05709, equation 1). It is computed in float32 whatever the input's type, so that small
    temperatures stay finite under autocast. Memory grows with B, not with its square: of the matrix of similarities
    only a block of rows is held at a time. The loss can be differentiated once. The divisor t is greater than 0.

    Args:
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
        """Return the loss of a batch of pairs ``(B, D)``, any floating type, any length: a float32 scalar.

        Args:
            group: integer ids ``(B,)``, for instance of patients: two samples of equal id are never negatives of
                each other.

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
            anchors = _UnitRows.apply(torch.cat([z1, z2]).float())
            everyone, ids = None, None if group is None else group.repeat(2)
            everyone_ids, offset = ids, 0
            if self.gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                # Rows come back rank by rank, each with its first views before its second views.
                everyone = _GatherRows.apply(anchors)
                everyone_ids = None if ids is None else _GatherRows.apply(ids)
                offset = 2 * batch * dist.get_rank()
            return _BlockedCrossEntropy.apply(anchors, everyone, ids, everyone_ids, offset, self.temperature)
