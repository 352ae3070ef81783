# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI ImageReader for chest X-ray files of any format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader

from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.dicom_lookup import check_window
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.read import check_limits, read_cxr
from monai_cxrssl.data.reading.writer import ROWS_FIRST, register_cxr_writers
from monai_cxrssl.errors import ConfigurationError, CXRReadError

__all__ = ["CXRReader", "monai_metadata"]

Path = str | os.PathLike

# Whoever reads with this module may write with SaveImage, which must then know the order of the axes.
register_cxr_writers()


class CXRReader(ImageReader):
    """Reads chest X-rays of any format in MONAI: ``LoadImaged(keys="image", reader="monai_cxrssl.data.CXRReader")``.

    The array is ``(1, H, W)`` float32 in [0, 1], rows first, upright, bright = dense, with its channel axis declared,
    so it is the same with and without ``ensure_channel_first``. Importing this class registers the writers of
    :mod:`monai_cxrssl.data.reading.writer`; the affine makes NIfTI files open upright in a viewer.

    Metadata are those of :func:`read_cxr`, in types that collate in a batch: ``spacing`` is an array of two, NaN where
    unknown; ``warnings`` is one string; ``original_affine`` and ``rows_first`` are added for ``SaveImage``. Arguments
    are those of :func:`read_cxr`; an impossible one is a ConfigurationError.
    """

    def __init__(
        self, window: Window = "first", max_side: int | None = None, max_pixels: int = MAX_PIXELS, **kwargs: Any
    ) -> None:
        super().__init__()
        if kwargs:
            raise ConfigurationError(f"CXRReader has no option {', '.join(kwargs)}; see its docstring.")
        check_window(window)
        check_limits(max_side, max_pixels)
        self.window, self.max_side, self.max_pixels = window, max_side, max_pixels

    def verify_suffix(self, filename: Sequence[Path] | Path) -> bool:
        """Accept every name: the content decides."""
        return True

    def read(self, data: Sequence[Path] | Path, **kwargs: Any) -> list[str]:
        """Return the file names; ``LoadImage`` would answer an exception here by trying the stock readers, which load
        without a word what this one refuses."""
        return [os.fsdecode(name) for name in ([data] if isinstance(data, (str, os.PathLike)) else data)]

    def get_data(self, img: Sequence[str] | str) -> tuple[np.ndarray, dict[str, Any]]:
        """Return float32 ``(1, H, W)`` and the metadata of the file that :meth:`read` named. CXRReadError: the file
        cannot be read as one chest X-ray, or several were given."""
        names = [img] if isinstance(img, str) else list(img)
        if len(names) != 1:
            raise CXRReadError(
                names[0] if names else "",
                f"was given together with {len(names) - 1} more files as one image" if names else "no file was given",
                "A chest X-ray is one file; give each its own datalist item.",
            )
        pixels, metadata = read_cxr(names[0], self.window, self.max_side, self.max_pixels)
        return pixels[None], monai_metadata(metadata)


def monai_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata of :func:`read_cxr` in types that ``default_collate`` can batch, for a ``MetaTensor``."""
    spacing = metadata["spacing"] or (np.nan, np.nan)
    return {
        **metadata,
        "spatial_shape": np.asarray(metadata["spatial_shape"]),
        "spacing": np.asarray(spacing, dtype=np.float64),
        "original_affine": metadata["affine"].copy(),
        "warnings": "; ".join(metadata["warnings"]),
        ROWS_FIRST: True,
    }
