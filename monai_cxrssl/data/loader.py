# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches of pretraining samples."""

from __future__ import annotations

import logging
import os
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from monai_cxrssl.errors import ConfigurationError

__all__ = ["pretext_loader", "worker_count"]

logger = logging.getLogger(__name__)


def worker_count(num_workers: int | str, device: torch.device | str) -> int:
    """Choose the number of loader processes.

    Args:
        num_workers: a number, or ``"auto"``: none when the processor itself trains (a training step takes all cores,
            and cutting views from decoded images takes about a hundredth of it), else up to eight, one core left over.
        device: the device that trains.

    Raises:
        ConfigurationError: when the value is neither.
    """
    if str(num_workers).lower() == "auto":
        if torch.device(device).type == "cpu":
            return 0
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, min(8, cores // local - 1))
    try:
        count = int(num_workers)
    except ValueError:
        count = -1
    if count < 0:
        raise ConfigurationError(f"--num_workers must be a number from 0 on, or auto; got {num_workers!r}.")
    return count


def pretext_loader(
    dataset: Dataset,
    sampler: Sampler,
    batch_size: int,
    device: torch.device | str = "cpu",
    num_workers: int | str = "auto",
) -> DataLoader:
    """Load batches in the order of a sampler, all of one size.

    The last, shorter batch of an epoch is left out: a contrastive loss depends on the number of samples in it. Every
    epoch draws another order, so no sample is left out for good. A batch larger than the epoch is cut down to it, with
    a warning.

    Args:
        dataset: maps a draw of the sampler to a sample.
        sampler: has a length and, for epochs, ``set_epoch``.
        batch_size: samples per batch and process.
        device: the device that trains; batches for a GPU are pinned.
        num_workers: see :func:`worker_count`.

    Raises:
        ConfigurationError: when a batch would hold fewer than two samples.
    """
    available = len(sampler)  # type: ignore[arg-type]
    size = min(int(batch_size), available)
    if size < 2:
        raise ConfigurationError(
            f"A batch must hold at least two samples to contrast; --batch_size is {batch_size} and an epoch has "
            f"{available}. Bring more images or raise the batch size."
        )
    if size < batch_size:
        logger.warning(
            "The batch size of %d is more than the %d samples of an epoch; taking %d.", batch_size, available, size
        )
    workers = worker_count(num_workers, device)
    if workers:
        # Before the workers are forked: a thread of OpenCV's that runs at that moment leaves them a locked mutex. And
        # they share the machine's cores, where more threads would only wait for one another.
        cv2.setNumThreads(1)
    more: dict[str, Any] = {"persistent_workers": True} if workers else {}
    return DataLoader(
        dataset,
        batch_size=size,
        sampler=sampler,
        drop_last=True,
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        **more,
    )
