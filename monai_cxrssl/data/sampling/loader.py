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

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.sampling.pretext import PairDataset
from monai_cxrssl.data.sampling.replacing_loader import ReplacingLoader
from monai_cxrssl.data.sampling.resumable_sampler import ResumableSampler
from monai_cxrssl.errors import ConfigurationError

__all__ = ["training_loader", "worker_count"]

logger = logging.getLogger(__name__)


def worker_count(num_workers: int | str, device: torch.device | str) -> int:
    """Choose the number of loader processes.

    ``"auto"`` is none when the processor itself trains (a training step takes all cores, and cutting views from decoded
    images takes about a hundredth of it), else up to eight, one core left over. ConfigurationError: neither that nor a
    number.
    """
    if str(num_workers).lower() == "auto":
        if torch.device(device).type == "cpu":
            return 0
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(1, min(8, usable_cores() // local - 1))
    try:
        count = int(num_workers)
    except ValueError:
        count = -1
    if count < 0:
        raise ConfigurationError(f"--num_workers must be a number from 0 on, or auto; got {num_workers!r}.")
    return count


def training_loader(
    dataset: Dataset,
    sampler: Sampler,
    batch_size: int,
    device: torch.device | str = "cpu",
    num_workers: int | str = "auto",
    minimum_batch_size: int = 2,
    max_unreadable: float = 0.05,
) -> DataLoader:
    """Load batches in the order of a sampler, all of one size.

    The last, shorter batch of an epoch is left out: a contrastive loss depends on the number of samples in it, and
    batch normalisation needs more than a few. Every epoch draws another order, so no sample is left out for good. A
    batch larger than the epoch is cut down to it, with a warning.

    Args:
        dataset, sampler: maps a draw of the sampler to a sample; has a length and, for epochs, ``set_epoch``.
        batch_size: samples per batch and process.
        device: the device that trains; batches for a GPU are pinned.
        num_workers: see :func:`worker_count`.
        minimum_batch_size: fewest samples that the method can learn from: 2 where samples are contrasted with each
            other (SimCLR, MICLe, MoCo), 1 where each has its own task (inpainting, rotation, jigsaw).
        max_unreadable: see :class:`~monai_cxrssl.data.sampling.replacing_loader.ReplacingLoader`.

    Raises:
        ConfigurationError: a batch would hold fewer samples than that, or samples to contrast are all of one patient.
    """
    if minimum_batch_size > 1 and isinstance(dataset, PairDataset) and len(dataset) > 1 and not dataset.patients.any():
        raise ConfigurationError(
            f"All {len(dataset)} images are of one patient, so there is nothing to contrast them with. Bring other "
            "patients, or look whether patient_id was found; inpainting, rotation and jigsaw can do with one patient."
        )
    available = len(sampler)  # type: ignore[arg-type]
    size = min(int(batch_size), available)
    if size < minimum_batch_size or size < 1:
        number = "two" if minimum_batch_size == 2 else minimum_batch_size
        wanted = (
            f"at least {number} samples, which are contrasted or normalised with each other"
            if minimum_batch_size > 1
            else "a sample"
        )
        raise ConfigurationError(
            f"A batch must hold {wanted}; --batch_size is {batch_size} and an epoch has {available}. Bring more images "
            "or raise the batch size."
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
    return ReplacingLoader(
        dataset,
        max_unreadable,
        batch_size=size,
        sampler=ResumableSampler(sampler),
        drop_last=True,
        num_workers=workers,
        pin_memory=torch.device(device).type == "cuda",
        **more,
    )
