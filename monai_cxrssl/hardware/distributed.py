# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One run in several processes."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from monai_cxrssl.errors import ConfigurationError

__all__ = ["data_parallel", "join_processes", "leave_processes"]


def join_processes(device: torch.device | str, timeout_minutes: float = 30) -> None:
    """Join the group of processes that ``torchrun`` started, by NCCL on GPUs and gloo on CPUs.

    ``device`` is this process's; a GPU becomes the current one. ``timeout_minutes`` is how long to wait for the others.
    ConfigurationError: the process was not started by ``torchrun``.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if dist.is_initialized():
        idist.sync()
        return
    absent = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if absent:
        raise ConfigurationError(
            f"This process cannot join others: the environment lacks {', '.join(absent)}. Start the run with torchrun, "
            "which sets them, or leave multi_gpu_train.json out to train in one process."
        )
    # Through ignite, which otherwise looks for the group when one process first asks for its rank, and then waits there
    # for all the others.
    backend = "nccl" if device.type == "cuda" else "gloo"
    with _slurm_hidden():
        idist.initialize(backend, timeout=datetime.timedelta(minutes=timeout_minutes))


@contextmanager
def _slurm_hidden() -> Iterator[None]:
    """Take SLURM's job out of the environment for a while.

    Ignite believes SLURM before torchrun: in a job with one task per machine, each of which starts a process per GPU,
    it compares the number of tasks with the number of processes and refuses.
    """
    job = os.environ.pop("SLURM_JOB_ID", None)
    try:
        yield
    finally:
        if job is not None:
            os.environ["SLURM_JOB_ID"] = job


def leave_processes() -> None:
    """Leave the group that :func:`join_processes` joined; ignite forgets it too."""
    idist.finalize()


def data_parallel(method: nn.Module, device: torch.device | str, sync_batch_norm: bool = True) -> nn.Module:
    """Move a method to this process's device and wrap it so that its gradients are averaged over all processes.

    ``ignite.distributed.auto_model`` is not used because it chooses the device by itself. ``sync_batch_norm`` takes
    batch statistics over all processes, on GPUs only; on CPUs each process normalises by its own.
    """
    device = torch.device(device)
    if sync_batch_norm and device.type == "cuda":
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    method = method.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Gradients live in the buffers that are exchanged, which spares a copy and its memory.
    return DistributedDataParallel(
        method, device_ids=[device.index] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )
