# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of a batch whose views are made on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform
from monai_cxrssl.errors import ConfigurationError

__all__ = ["DeferredViews", "augments_on_device", "stack_films"]

PLACES = ("auto", "workers", "device")
# The sides of a batch's grid are multiples of this, so that allocators can use their blocks again.
GRID = 32


@dataclass(frozen=True)
class DeferredViews:
    """The images of one sample, arrays ``(h, w)`` of one type: one that shows all V views (``views``), or V that show
    one each.

    A data loader's default collation makes ``(B, F, 1, H, W)`` of B of them, see :func:`stack_films`; F is 1, or V
    where any sample has V images.
    """

    films: tuple[np.ndarray, ...]
    views: int


def stack_films(films: Sequence[np.ndarray]) -> Tensor:
    """Put N images ``(h, w)`` of one type on one grid ``(N, 1, H, W)``, each in its left upper corner.

    H and W are the largest h and w, rounded up to multiples of 32. Beyond its edges an image goes on with its last row
    and column, which is what :meth:`monai_cxrssl.transforms.MultiView.apply_batch` expects there.
    """
    rows, columns = (-(-max(film.shape[axis] for film in films) // GRID) * GRID for axis in (0, 1))
    stacked = np.empty((len(films), 1, rows, columns), dtype=films[0].dtype)
    for plane, film in zip(stacked[:, 0], films, strict=True):
        height, width = film.shape
        plane[:height, :width] = film
        plane[:height, width:] = film[:, -1:]
        plane[height:] = plane[height - 1]
    return torch.from_numpy(stacked)


def _collate(batch: list[DeferredViews], *, collate_fn_map: Any = None) -> Tensor:
    each = max(len(sample.films) for sample in batch)
    films = [film for sample in batch for film in (sample.films if len(sample.films) == each else sample.films * each)]
    return stack_films(films).unflatten(0, (len(batch), each))


# The way that torch documents for a type of one's own; loaders of every kind then know it.
default_collate_fn_map[DeferredViews] = _collate


def augments_on_device(
    augment_on: str, device: torch.device | str, transform: Callable[..., Tensor], lung_masks: bool = False
) -> bool:
    """Tell whether the device makes the views of whole batches, rather than the loader's processes one by one.

    Args:
        augment_on: ``"workers"``, ``"device"``, or ``"auto"``: the device if it is a CUDA device and can.
        device, transform: where training computes, and what draws the views.
        lung_masks: whether samples hold masks of the lungs.

    Raises:
        ConfigurationError: another word, or ``"device"`` for what the device cannot make.
    """
    if augment_on not in PLACES:
        raise ConfigurationError(f"augment_on is {augment_on!r}; expected one of {', '.join(PLACES)}.")
    batches = isinstance(transform, DrawnViewTransform) and transform.renders_batches
    if augment_on == "device" and lung_masks:
        raise ConfigurationError(
            "augment_on is 'device', but this pretext task takes lung masks with its views, which only the loader's "
            "processes warp; set augment_on to 'auto' or 'workers'."
        )
    if augment_on == "device" and not batches:
        raise ConfigurationError(
            f"augment_on is 'device', but a {type(transform).__name__} does not make views of whole batches; take a "
            "plain MultiView, or set augment_on to 'auto' or 'workers'."
        )
    if augment_on == "auto":
        return batches and not lung_masks and torch.device(device).type == "cuda"
    return augment_on == "device"
