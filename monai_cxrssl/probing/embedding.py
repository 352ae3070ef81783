# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a data set by an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from monai_cxrssl.hardware.precision import autocast_dtype

__all__ = ["embed"]


@torch.inference_mode()
def embed(
    network: nn.Module,
    dataset: Dataset,
    device: torch.device | str,
    batch_size: int = 64,
    num_workers: int = 0,
    amp: bool | str = "auto",
    progress: bool | str = False,
) -> np.ndarray:
    """Run an encoder over a data set, in order; return float32 embeddings ``(N, D)``.

    Args:
        network: maps ``(B, 1, H, W)`` float images in [0, 1] to ``(B, D)``; its mode is restored afterwards.
        dataset: yields dictionaries with ``image`` ``(1, H, W)``, uint8, or float in [0, 1].
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        progress: show a bar; a text becomes its label.
    """
    device = torch.device(device)
    dtype = autocast_dtype(device, amp)
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=batch_size, num_workers=num_workers, pin_memory=device.type == "cuda"
    )
    was_training = network.training
    network.eval()
    rows = []
    try:
        label = progress if isinstance(progress, str) else "embedding"
        for batch in tqdm(loader, desc=label, unit="batch", disable=not progress, leave=False):
            image = batch["image"].to(device, non_blocking=True)
            if image.dtype is torch.uint8:
                image = image.float().div_(255)
            image = image.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
                rows.append(network(image).float())
    finally:
        network.train(was_training)
    return torch.cat(rows).cpu().numpy()
