# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI image writers that keep the (height, width) order.

MONAI's own readers return pictures as (width, height), and its ``PILWriter`` swaps the axes back. Images of this
package are (height, width), marked by ``rows_first`` in the metadata; unmarked ones are written as MONAI does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data import ITKWriter, MetaTensor, NibabelWriter, PILWriter, register_writer, resolve_writer
from monai.utils.enums import MetaKeys

__all__ = ["ROWS_FIRST", "CXRITKWriter", "CXRNiftiWriter", "CXRPictureWriter", "register_cxr_writers"]

ROWS_FIRST = "rows_first"


class CXRPictureWriter(PILWriter):
    """``monai.data.PILWriter`` that writes images marked ``rows_first`` as they are seen. ``SaveImage(scale=255)``
    rounds here, where ``PILWriter`` cuts off, so that an 8-bit image that was read and written is the same."""

    rows_first = False

    def set_metadata(self, meta_dict: Mapping | None = None, resample: bool = True, **options: Any) -> None:
        """Take over the metadata of the image, as ``PILWriter`` does, and note the order of its axes."""
        self.rows_first = _is_marked(meta_dict)
        super().set_metadata(meta_dict, resample=resample, **options)

    def write(self, filename: Any, verbose: bool = False, **kwargs: Any) -> None:
        """Write the picture to ``filename``; ``reverse_indexing`` may still be given to decide the order of axes."""
        if self.rows_first:
            kwargs.setdefault("reverse_indexing", False)
            if self.scale and self.data_obj is not None:
                levels = np.rint(np.clip(np.asarray(self.data_obj, dtype=np.float64), 0.0, 1.0) * self.scale)
                # PILWriter multiplies by the scale and cuts off: half a level above the rounded one is safe.
                self.data_obj = np.clip((levels + 0.5) / self.scale, 0.0, 1.0)
        super().write(filename, verbose=verbose, **kwargs)


class _PlaneMixin:
    """Lets MONAI's volume writers write a single-channel plane without resampling: they squeeze ``(1, H, W)`` but,
    going by ``original_channel_dim``, count the rows as channels and fail for want of two spatial axes (MONAI 1.6.1).
    """

    data_obj: Any

    def set_metadata(self, meta_dict: Mapping | None = None, resample: bool = True, **options: Any) -> None:
        """Take over the metadata of the image after saying that the squeezed plane has no channel axis."""
        plane = self.data_obj
        if _is_marked(meta_dict) and plane is not None and plane.ndim == 2:
            meta = dict(plane.meta) if isinstance(plane, MetaTensor) else {}
            pixels = plane.as_tensor() if isinstance(plane, MetaTensor) else torch.as_tensor(np.asarray(plane))
            self.data_obj = MetaTensor(pixels, meta={**meta, MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan")})
        super().set_metadata(meta_dict, resample=resample, **options)  # type: ignore[misc]


class CXRNiftiWriter(_PlaneMixin, NibabelWriter):
    """``monai.data.NibabelWriter`` for images: ``(height, width)`` with the affine that shows it upright."""


class CXRITKWriter(_PlaneMixin, ITKWriter):
    """``monai.data.ITKWriter`` for images, as MHA or NRRD."""


_WRITERS: dict[str, type] = {
    **dict.fromkeys(("png", "jpg", "jpeg", "bmp", "tiff", "tif"), CXRPictureWriter),
    **dict.fromkeys(("nii", "nii.gz"), CXRNiftiWriter),
    **dict.fromkeys(("mha", "nrrd"), CXRITKWriter),
}


def register_cxr_writers() -> None:
    """Make ``SaveImage`` use the writers of this file; repeated calls change nothing."""
    for extension, writer in _WRITERS.items():
        # Resolving first fills MONAI's table, which stays empty otherwise once anything has been registered.
        if writer not in resolve_writer(extension):
            register_writer(extension, writer)


def _is_marked(metadata: Mapping | None) -> bool:
    return bool((metadata or {}).get(ROWS_FIRST, False))
