# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning rates that fall from the heads to the stem.

Sources: K. Clark et al., "ELECTRA", ICLR 2020, arXiv 2003.10555; H. Bao et al., "BEiT", ICLR 2022, arXiv 2106.08254:
layer l of L learns with ``lr * decay ** (L - l)``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["layer_decay_groups"]


def layer_decay_groups(
    network: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    decay: float = 1.0,
    loss_function: nn.Module | None = None,
    head_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Divide a network's parameters into groups for an optimiser, each ``{"params", "lr", "weight_decay"}``.

    The heads come first so that a log of the first group's learning rate shows the rate asked for. Biases, the weights
    of normalisation and other vectors have no weight decay. Parameters that want no gradient are left out.

    Args:
        network: its ``layer_groups()`` gives its layers from the stem to the heads, each
            ``(name, {parameter name: parameter})``: :class:`monai_cxrssl.networks.MultiTaskNet`.
        lr: learning rate; layer i of n, the heads being the last, has the rate ``lr * decay ** (n - 1 - i)``.
        weight_decay: of the matrices and kernels.
        decay: factor on the learning rate from a group to the one below it, in (0, 1]; 1 for one rate.
        loss_function: a loss whose parameters are learnt too, with ``lr`` and without weight decay.
        head_factor: on the learning rate of the heads alone.

    Raises:
        ConfigurationError: a decay out of range, nothing to learn, or a parameter that is in no group or in two.
    """
    if not 0 < decay <= 1:
        raise ConfigurationError(f"The decay of learning rates over layers must be in (0, 1], got {decay}.")
    layers = [list(members.values()) for _, members in network.layer_groups()]  # type: ignore[operator]
    found = Counter(id(parameter) for layer in layers for parameter in layer)
    learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    wrong = [name for name, parameter in learning.items() if found[id(parameter)] != 1]
    if wrong:
        raise ConfigurationError(
            f"layer_groups() of {type(network).__name__} must hold every parameter that learns once; {len(wrong)} are "
            f"in no group or in several, the first {wrong[0]!r}."
        )
    groups: list[dict[str, Any]] = []
    for depth, layer in enumerate(reversed(layers)):
        members = [parameter for parameter in layer if parameter.requires_grad]
        rate = lr * decay**depth if depth else lr * head_factor
        for params, decayed in (
            ([parameter for parameter in members if parameter.ndim > 1], weight_decay),
            ([parameter for parameter in members if parameter.ndim <= 1], 0.0),
        ):
            if params:
                groups.append({"params": params, "lr": rate, "weight_decay": decayed})
    if not groups:
        raise ConfigurationError("No parameter of the network wants a gradient, so there is nothing to train.")
    weights = [] if loss_function is None else [p for p in loss_function.parameters() if p.requires_grad]
    return [*groups, {"params": weights, "lr": lr, "weight_decay": 0.0}] if weights else groups
