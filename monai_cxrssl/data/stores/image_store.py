# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Protocol of an image store."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["ImageSamples", "ImageStore"]


class ImageStore(Protocol):
    """Readable images of a datalist by number; made by :func:`monai_cxrssl.data.open_images`.

    :class:`~monai_cxrssl.data.DecodedImages` keeps the pixels in memory, :class:`~monai_cxrssl.data.CachedImages` maps
    them from a cache folder. Any object with these members will do.

    Attributes:
        items: the items whose images are readable, in their order.
        kept: their positions in the items given.
        unreadable: ``{"image": path, "cause": words}`` of the others.
        warnings: ``{"image": path, "warning": words}`` of what was odd in files that could be read.
    """

    items: list[dict[str, Any]]
    kept: list[int]
    unreadable: list[dict[str, str]]
    warnings: list[dict[str, str]]

    def __len__(self) -> int:
        """Count the readable images."""
        ...

    def image(self, index: int) -> np.ndarray:
        """Pixels of item ``index``: ``(h, w)`` uint8 or uint16, read-only, bright = dense; raises ``IndexError``."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether an image is read without decoding a file."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of pixels kept."""
        ...


@runtime_checkable
class ImageSamples(Protocol):
    """A data set whose samples are made of the images of a store, such as :class:`monai_cxrssl.data.PairDataset`."""

    images: ImageStore
