# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A network that follows another one as an exponential moving average."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from monai_cxrssl.errors import ConfigurationError

__all__ = ["EMACopy", "momentum_at"]


def momentum_at(progress: float, start: float, end: float = 1.0) -> float:
    """Return the momentum of a cosine schedule, as of BYOL and DINO teachers.

    Progress is the share of the run that is done; what lies outside [0, 1] counts as its nearer end.

    Example:
        >>> [momentum_at(progress, 0.996) for progress in (0, 0.5, 1)]
        [0.996, 0.998, 1.0]
    """
    share = (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2
    return end - (end - start) * share


class EMACopy(nn.Module):
    """A copy of a network that no gradient reaches, moved a little towards its source after each step.

    With momentum m every floating tensor, parameter or saved buffer, becomes ``m * twin + (1 - m) * source`` (He et al.
    2020, arXiv 1911.05722, equation 2, there for parameters). What cannot be averaged is copied: integer buffers, such
    as the number of batches that batch normalisation has seen, and buffers that no state dict holds.

    Args:
        network: the source; it is copied as it is now and not kept.
        momentum: m, in [0, 1], unless :meth:`update` is given another.
        keep_eval: stay in evaluation mode whatever :meth:`train` is told, as teachers do; else the mode follows the
            method's.
        dropout: let dropout and stochastic depth act in the copy where its mode is that of training.

    Raises:
        ConfigurationError: when the momentum is out of range.

    Example:
        >>> source = nn.Linear(1, 1, bias=False)
        >>> twin = EMACopy(source, momentum=0.75)
        >>> _ = nn.init.zeros_(twin.network.weight), nn.init.ones_(source.weight)
        >>> twin.update(source)
        >>> twin.network.weight.item()
        0.25
    """

    def __init__(
        self, network: nn.Module, momentum: float = 0.999, keep_eval: bool = False, dropout: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ConfigurationError(f"The momentum of a moving average must be between 0 and 1, got {momentum}.")
        self.momentum = float(momentum)
        self.keep_eval = keep_eval
        self.dropout = dropout
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._followed: tuple[nn.Module, list[list[Tensor]]] | None = None
        self.train(network.training)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the copy, without a graph."""
        return self.network(*args, **kwargs)

    def train(self, mode: bool = True) -> EMACopy:
        """Set the mode, unless the twin stays in evaluation mode."""
        super().train(mode and not self.keep_eval)
        if not self.dropout:
            from timm.layers import DropPath, PatchDropout

            for layer in self.modules():
                if isinstance(layer, _DropoutNd | DropPath | PatchDropout):
                    layer.eval()
        return self

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float | None = None) -> None:
        """Move towards the source: one fused call for all floating tensors, nothing waits for the device.

        The source is a network of the same structure on the same device; the momentum is by default the constructor's.

        Raises:
            ConfigurationError: when the source has other tensors than the twin.
        """
        # Walking both networks costs more than the update of a small one; the tensors stay the same between steps.
        if self._followed is None or self._followed[0] is not source:
            self._followed = (source, self._tensor_lists(source))
        averages, targets, copies, originals = self._followed[1]
        weight = 1 - (self.momentum if momentum is None else momentum)
        torch._foreach_lerp_(averages, targets, weight)
        if copies:
            torch._foreach_copy_(copies, originals)

    def _tensor_lists(self, source: nn.Module) -> list[list[Tensor]]:
        """Return the tensors to average, their targets, those to copy and their originals."""
        ours = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        theirs = dict(source.named_parameters()) | dict(source.named_buffers())
        differing = {name for name in ours.keys() | theirs.keys() if name not in ours or name not in theirs}
        differing |= {name for name in ours.keys() - differing if ours[name].shape != theirs[name].shape}
        if differing:
            raise ConfigurationError(
                f"A moving average needs a source of the same structure: {len(differing)} tensors differ, such as "
                f"{min(differing)!r}. Pass the network that the twin was made of."
            )
        saved = self.network.state_dict().keys()
        averaged = [name for name, value in ours.items() if value.is_floating_point() and name in saved]
        copied = [name for name in ours if name not in set(averaged)]
        return [[tensors[name] for name in names] for names in (averaged, copied) for tensors in (ours, theirs)]

    def _apply(self, fn: Any, recurse: bool = True) -> EMACopy:
        # Moving to a device replaces buffers, so the lists must be made anew.
        self._followed = None
        super()._apply(fn, recurse)
        return self
