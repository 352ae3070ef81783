# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One run in several processes."""

from __future__ import annotations

import datetime

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["data_parallel", "join_processes"]


def join_processes(device: torch.device | str, timeout_minutes: float = 30) -> None:
    """Join the group of processes that ``torchrun`` started, by NCCL on GPUs and gloo on CPUs.

    Args:
        device: this process's device; a GPU becomes the current one.
        timeout_minutes: how long a process waits for the others before it gives up.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=datetime.timedelta(minutes=timeout_minutes)
        )


def data_parallel(method: nn.Module, device: torch.device | str, sync_batch_norm: bool = True) -> nn.Module:
    """Wrap a method so that its gradients are averaged over all processes.

    Args:
        method: the method; it is moved to the device.
        device: this process's device.
        sync_batch_norm: take batch statistics over all processes. Torch offers this on GPUs only; on CPUs each process
            keeps its own.
    """
    device = torch.device(device)
    if sync_batch_norm and device.type == "cuda":
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    method = method.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DistributedDataParallel(method, device_ids=[device.index] if device.type == "cuda" else None)
