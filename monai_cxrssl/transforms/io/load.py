# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading transforms for images and lung masks."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.data.reading.reader import CXRReader, monai_metadata
from monai_cxrssl.errors import ConfigurationError

__all__ = ["LoadCXR", "LoadCXRd", "LoadLungMask", "LoadLungMaskd"]

Path = str | os.PathLike


class LoadCXR(Transform):
    """Load a chest X-ray: path in, ``(1, H, W)`` float32 ``MetaTensor`` in [0, 1] out, upright, bright = dense.

    Args:
        window: ``"first"`` (what the DICOM file prefers), an index, ``[center, width]``, or ``"none"``/None for the
            image's own range; see :func:`monai_cxrssl.data.reading.read.read_cxr`.
        max_side: reduce to this longer side, in pixels, by area averaging.
        max_pixels: refuse larger images before memory is taken.

    Raises:
        CXRReadError: (when called) the file cannot be read as one chest X-ray.
        ConfigurationError: an argument is impossible.
    """

    def __init__(self, window: Window = "first", max_side: int | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self.reader = CXRReader(window=window, max_side=max_side, max_pixels=max_pixels)

    def __call__(self, filename: Path) -> torch.Tensor:
        """Load ``filename``; a plain tensor is returned where MONAI's ``set_track_meta(False)`` is in force."""
        pixels, metadata = self.reader.get_data(self.reader.read(filename))
        return MetaTensor.ensure_torch_and_prune_meta(pixels, metadata)


class LoadCXRd(MapTransform):
    """Dictionary form of :class:`LoadCXR`.

    Args:
        keys: entries that hold paths and are replaced by images.
        window, max_side, max_pixels: as in :class:`LoadCXR`.
        allow_missing_keys: pass over keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window: Window = "first",
        max_side: int | None = None,
        max_pixels: int = MAX_PIXELS,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadCXR(window, max_side, max_pixels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its images loaded."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.load(item[key])
        return item


class LoadLungMask(Transform):
    """Load a lung mask: path or ``[left, right]`` in, ``(1, H, W)`` uint8 ``MetaTensor`` of 0 and 1 (lung) out.

    ``max_pixels`` refuses larger images before memory is taken. CXRReadError: (when called) a mask cannot be read.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def __call__(self, filename: Path | Sequence[Path], image: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
        """Load a mask, on the grid of ``image`` ``(1, H, W)`` where it is given."""
        shape = None if image is None else (int(image.shape[-2]), int(image.shape[-1]))
        source = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
        mask, metadata = read_lung_mask(filename, shape, self.max_pixels, source)
        meta = monai_metadata(metadata)
        if isinstance(image, MetaTensor):
            # On its image's grid a mask lies where the image lies, whatever its own file says.
            meta["affine"] = image.affine.cpu().numpy().copy()
            meta["original_affine"] = meta["affine"].copy()
        return MetaTensor.ensure_torch_and_prune_meta(mask[None], meta)


class LoadLungMaskd(MapTransform):
    """Dictionary form of :class:`LoadLungMask`.

    Args:
        keys: entries that hold a path or ``[left, right]`` and are replaced by masks.
        image_key: entry with the loaded image whose grid the masks take; None for the masks' own grid.
        max_pixels: as in :class:`LoadLungMask`.
        allow_missing_keys: pass over keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection = "lung_mask",
        image_key: str | None = "image",
        max_pixels: int = MAX_PIXELS,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.load = LoadLungMask(max_pixels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its masks loaded.

        Raises:
            TypeError: ``image_key`` names a path; load the image first.
            ConfigurationError: the image has been cropped, padded or turned, so the mask's file is not on its grid.
        """
        item = dict(data)
        image = item.get(self.image_key) if self.image_key else None
        if isinstance(image, (str, os.PathLike)):
            raise TypeError(
                f"Item {self.image_key!r} is still a path; put LoadCXRd before LoadLungMaskd, or set image_key to null."
            )
        if isinstance(image, MetaTensor) and not _shows_whole_film(image):
            raise ConfigurationError(
                f"Item {self.image_key!r} no longer shows its whole image upright, on whose grid the masks are; put "
                "LoadLungMaskd before the step that crops, pads or turns it, and let that step move the masks too."
            )
        for key in self.key_iterator(item):
            item[key] = self.load(item[key], image)
        return item


def _shows_whole_film(image: MetaTensor) -> bool:
    """Whether the grid of an image, by its affine, still ends where the image ends; it may be finer or coarser."""
    loaded, now = image.meta.get("original_affine"), image.affine.cpu().numpy()
    if loaded is None or "spatial_shape" not in image.meta or np.array_equal(loaded, now):
        return True
    corners = np.array([[-0.5, side - 0.5] for side in image.shape[-2:]] + [[0, 0], [1, 1]])
    ends = [[-0.5, float(side) - 0.5] for side in image.meta["spatial_shape"][:2]]
    found = np.linalg.inv(np.asarray(loaded)) @ now @ corners
    return bool(np.abs(found[:2] - ends).max() < 0.5)
