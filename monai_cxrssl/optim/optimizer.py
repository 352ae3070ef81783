# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""timm's optimisers by name, in torch's fused form where there is one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["create_optimizer"]

# Torch has fused kernels on these kinds of device for the optimisers below in every release that this package takes.
_DEVICES = {"cpu", "cuda"}
_OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def _can_fuse(optimizer_class: type, parameters: list[Tensor]) -> bool:
    """Return whether torch has one kernel that steps all these parameters."""
    if not issubclass(optimizer_class, _OPTIMIZERS) or "fused" not in inspect.signature(optimizer_class).parameters:
        return False
    return all(value.device.type in _DEVICES and value.is_floating_point() for value in parameters)


def create_optimizer(
    model_or_params: nn.Module | Iterable[Any],
    opt: str,
    lr: float | None = None,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    fused: bool | None = None,
    **options: Any,
) -> torch.optim.Optimizer:
    """Build an optimiser of timm by its name; a step of it is one kernel where torch has such a kernel.

    It is ``timm.optim.create_optimizer_v2``, which leaves torch's slower default. The steps are the same up to rounding
    (benchmarks/step.py measures their time). On a GPU with float16 it also spares the wait for the gradient scaler.

    LARS and LAMB adapt the rate of every matrix and kernel, and of no bias or weight of normalisation, whatever the
    weight decay; timm's adapt what decays, and so are SGD and Adam where nothing does.

    Args:
        model_or_params: a module, whose biases and weights of normalisation get no weight decay; or parameters or
            groups of them, taken as they are.
        opt: timm's name: ``adamw``, ``sgd``, ``lars`` … A ValueError where timm knows none.
        lr, momentum: learning rate, by default the optimiser's own; momentum of those optimisers that have one.
        weight_decay: of the matrices and kernels of a module, or of all parameters.
        fused: ``True`` or ``False`` to insist; by default whenever torch can: SGD, Adam and AdamW on a CPU or CUDA.
        options: further arguments of the optimiser, such as ``betas``.
    """
    import timm.optim

    groups = model_or_params if isinstance(model_or_params, nn.Module) else list(model_or_params)
    optimizer_class = timm.optim.get_optimizer_class(opt.lower().split("_")[-1], bind_defaults=False)
    if "always_adapt" in inspect.signature(optimizer_class).parameters:
        groups, weight_decay = _adapted_groups(groups, weight_decay), 0.0
    if fused is None:
        fused = isinstance(optimizer_class, type) and _can_fuse(optimizer_class, _tensors(groups))
        options |= {"fused": True} if fused else {}
    else:
        options["fused"] = fused
    return timm.optim.create_optimizer_v2(groups, opt, lr=lr, weight_decay=weight_decay, momentum=momentum, **options)


def _adapted_groups(groups: nn.Module | list[Any], weight_decay: float) -> list[dict[str, Any]]:
    """Divide parameters into matrices and kernels, whose rate is always adapted, and vectors, which do not decay."""
    entries: list[Any] = list(groups.parameters()) if isinstance(groups, nn.Module) else groups
    divided: list[dict[str, Any]] = []
    given: list[Any] = entries if entries and isinstance(entries[0], dict) else [{"params": entries}]
    for group in given:
        params = group["params"]
        tensors = [params] if isinstance(params, Tensor) else [p[1] if isinstance(p, tuple) else p for p in params]
        for adapted in (False, True):
            part = [tensor for tensor in tensors if tensor.requires_grad and (tensor.ndim > 1) is adapted]
            decay = group.get("weight_decay", weight_decay) if adapted else 0.0
            if part:
                divided.append({**group, "params": part, "weight_decay": decay, "always_adapt": adapted})
    return divided


def _tensors(groups: nn.Module | list[Any]) -> list[Tensor]:
    """Return the parameters of a module, of a list of them, or of a list of groups, named or not."""
    if isinstance(groups, nn.Module):
        return list(groups.parameters())
    found: list[Tensor] = []
    for entry in groups:
        members = entry["params"] if isinstance(entry, dict) else [entry]
        members = [members] if isinstance(members, Tensor) else list(members)
        if isinstance(entry, dict):
            # A generator can be read once, and the optimiser wants to read it too.
            entry["params"] = members
        found += [member[1] if isinstance(member, tuple) else member for member in members]
    return found
