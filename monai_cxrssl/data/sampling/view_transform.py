# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Protocols of view transforms, which data sets render images by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

__all__ = ["DrawnViewTransform", "ViewTransform"]


@runtime_checkable
class ViewTransform(Protocol):
    """A transform that draws several views (``num_views``) of an image, the same ones for the same key."""

    num_views: int

    def __call__(
        self, image: np.ndarray, key: tuple[int, int] | None = None, views: Iterable[int] | None = None
    ) -> Tensor:
        """Give ``(V, 1, S, S)`` of an image ``(1, H, W)``, or only the views of the numbers ``views``; ``key`` is
        (epoch, position of the sample in it)."""
        ...


@runtime_checkable
class DrawnViewTransform(ViewTransform, Protocol):
    """A view transform whose views are drawn first and rendered later, of an image, its mask or a whole batch, such as
    :class:`monai_cxrssl.transforms.MultiView`. The ``values()`` of a drawn view are what a batch carries to the device.
    """

    @property
    def renders_batches(self) -> bool:
        """Whether :meth:`apply_batch` gives the views of a call."""
        ...

    def sample(
        self, spatial_shape: Sequence[int], key: tuple[int, int] | None = None, views: Iterable[int] | None = None
    ) -> Sequence[Any]:
        """Draw the views of an image of this height and width."""
        ...

    def apply(self, image: np.ndarray, views: Any) -> Tensor:
        """Render drawn views ``(V, 1, S, S)`` of an image ``(1, H, W)``."""
        ...

    def apply_mask(self, mask: np.ndarray, views: Any) -> Tensor:
        """Warp a mask ``(1, H, W)`` as its image is: ``(V, 1, S, S)`` uint8."""
        ...

    def apply_batch(self, images: Tensor, views: Any, shapes: Tensor | None = None) -> Tensor:
        """Render views ``(B, V, numbers)`` of images ``(B, 1, H, W)`` of these shapes: ``(B, V, 1, S, S)``."""
        ...
