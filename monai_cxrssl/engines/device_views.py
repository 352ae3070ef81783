# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Make the views of a batch on the device that trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform
from monai_cxrssl.engines.trainer import prepare_views

__all__ = ["DeviceViews"]


class DeviceViews:
    """Prepare a batch for the trainer: move it to the device, and make views there of images that come without.

    The draws of ``transform`` were made where the images were loaded, from the same keys as the loader's own views;
    here they are only rendered, all at once (:meth:`monai_cxrssl.transforms.MultiView.apply_batch`), and nothing waits
    for the device. The result equals the loader's views within the tolerance of interpolation and of rounding to 8
    bits. Batches whose views are made already go through :func:`~monai_cxrssl.engines.trainer.prepare_views`.

    Args:
        transform: draws and renders the views of ``image``.
        local_transform: those of ``local_image``, if any.
    """

    def __init__(self, transform: DrawnViewTransform, local_transform: DrawnViewTransform | None = None) -> None:
        self.transform = transform
        self.local_transform = local_transform

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the batch on the device, without ``film_size`` and ``view``.

        Its ``image`` ``(B, V, 1, S, S)`` is float32 in [0, 1], and so is ``local_image`` of ``local_view``, if any.

        Args:
            batchdata: tensors by name: ``image`` images ``(B, F, 1, H, W)`` uint8 or uint16, F being 1 or V,
                ``film_size`` ``(B, V, 2)`` and ``view`` ``(B, V, 10)`` as :class:`monai_cxrssl.data.PairDataset` gives
                them; or without the last two, as for ``prepare_views``.
            non_blocking: copy asynchronously from pinned memory.
            kwargs: further arguments of ``Tensor.to``.
        """
        if "view" not in batchdata:
            return prepare_views(batchdata, device, non_blocking, **kwargs)
        batch = {
            name: value.to(device=device, non_blocking=non_blocking, **kwargs) if isinstance(value, Tensor) else value
            for name, value in batchdata.items()
        }
        films, sizes, views = (batch.pop(name) for name in ("image", "film_size", "view"))
        samples, each = films.shape[:2]
        count = views.shape[1]
        with torch.no_grad():
            rendered = self.transform.apply_batch(
                films.flatten(0, 1),
                views.reshape(samples * each, count // each, -1),
                sizes[:, :each].reshape(samples * each, 2),
            )
            if "local_view" in batch:
                assert self.local_transform is not None
                drawn = batch.pop("local_view")
                batch["local_image"] = self.local_transform.apply_batch(films[:, 0], drawn, sizes[:, 0])
        batch["image"] = rendered.reshape(samples, count, *rendered.shape[2:])
        return prepare_views(batch)
