# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loss of a trivial answer: mean image at this image's brightness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["RunningMean", "TrivialReconstruction"]


class RunningMean(nn.Module):
    """Mean over all that a run has seen, of all processes; it travels with the state dict.

    In training mode a call takes the values up first; in evaluation mode it does not, and before anything was taken up
    the mean is that of the call's own values. Nothing waits for the device.

    Example:
        >>> mean = RunningMean()
        >>> _ = mean(torch.zeros(1, 2))
        >>> mean(torch.ones(3, 2))
        tensor([0.7500, 0.7500])
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.count: Tensor
        # The shape is known with the first values only.
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, values: Tensor) -> Tensor:
        """Return the mean, float32 ``(...)``, of values ``(B, ...)`` of one shape.

        Raises:
            ConfigurationError: the values have another shape than those before.
        """
        values = values.float()
        known = self.mean.numel() > 0
        if known and self.mean.shape != values.shape[1:]:
            raise ConfigurationError(
                f"The mean is over values of shape {tuple(self.mean.shape)}, and these have {tuple(values.shape[1:])}; "
                "give all images of a run one size."
            )
        if not self.training:
            return self.mean if known else values.mean(0)
        if not known:
            self.mean = torch.zeros_like(values[0])
        total, number = values.sum(0), torch.tensor(len(values), device=values.device)
        if idist.get_world_size() > 1:
            total, number = idist.all_reduce(total), idist.all_reduce(number)  # type: ignore[assignment]
        self.count += number
        self.mean += (total - number * self.mean) / self.count
        # A copy: what is kept for the backward pass must not change under a later call.
        return self.mean.clone()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        mean = state_dict.get(f"{prefix}mean")
        if mean is not None:
            self.mean = torch.zeros_like(mean, device=self.mean.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class TrivialReconstruction(nn.Module):
    """What a reconstruction loss makes of an answer that nobody had to learn.

    The answer is the mean of all clean images of the run so far, moved by this image's brightness: by how much its
    intact pixels are brighter than the mean's. A reconstruction that is no better has found out nothing of the image
    that its brightness does not say. A method puts the result as ``trivial_loss`` beside its loss.

    Args:
        loss: the method's own, called with prediction, target and mask, such as
            :class:`~monai_cxrssl.losses.MaskedReconstructionLoss`.

    Example:
        >>> from monai_cxrssl.losses import MaskedReconstructionLoss
        >>> images = torch.tensor([[0.2, 0.4], [0.6, 0.8]]).reshape(2, 1, 1, 2)
        >>> trivial = TrivialReconstruction(MaskedReconstructionLoss())
        >>> bool(trivial(images, torch.tensor([False, True]).expand(2, 1, 1, 2)) < 1e-6)
        True
    """

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.mean_image = RunningMean()
        # In a list the loss is no submodule twice.
        self._loss = [loss]

    @torch.no_grad()
    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of the trivial answer, a scalar without a graph.

        Args:
            images: the clean targets ``(B, C, H, W)``, as the loss compares them.
            mask: ``(B, 1, H, W)`` or ``(B, C, H, W)``, bool or a number; not 0 where the network must answer.
        """
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            mean = self.mean_image(images)
            intact = (mask == 0).expand_as(images)
            total = torch.where(intact, images - mean, 0.0).sum((1, 2, 3), keepdim=True)
            brightness = total / intact.sum((1, 2, 3), keepdim=True).clamp(min=1)
            return self._loss[0](mean + brightness, images, mask)
