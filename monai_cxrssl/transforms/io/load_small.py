# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading transform that equals a run's cached images."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.dicom_lookup import check_window
from monai_cxrssl.data.reading.file_kind import file_kind, read_whole_file
from monai_cxrssl.data.reading.film import MAX_PIXELS, Film, display_affine
from monai_cxrssl.data.reading.in_memory import film_in_memory, is_in_memory
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.reading.reader import monai_metadata
from monai_cxrssl.data.stores.small_film import read_small
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["LoadSmallCXR", "LoadSmallCXRd"]

_VOLUMES = ("nifti", "metaimage", "nrrd")


class LoadSmallCXR(Transform):
    """Load a chest X-ray as :func:`monai_cxrssl.data.open_images` decodes it: path in, ``(1, h, w)`` uint8 out.

    A network that learned on such images gives the same probabilities of one image alone as in a run over a folder. A
    image in memory, as hosts of bundles hand it over, gives what its file would. An impossible argument is a
    ConfigurationError.

    Args:
        side: shorter side of the result, in pixels; a smaller image is not enlarged.
        window: which DICOM window maps to the full range, see :func:`monai_cxrssl.data.reading.read.read_cxr`.
        minimum_side: shortest side, in pixels of the file, that is accepted.
    """

    def __init__(self, side: int = 384, window: Window = "first", minimum_side: int = 32) -> None:
        if isinstance(side, bool) or side < 1:
            raise ConfigurationError(f"side is {side!r}; expected a number of pixels from 1.")
        check_window(window)
        self.side, self.window, self.minimum_side = int(side), window, int(minimum_side)

    def __call__(self, image: Any, header: Dataset | Mapping[str, Any] | None = None) -> torch.Tensor:
        """Load a file, the only file of a folder (a DICOM series as DICOMweb hands it out), or an image in memory.

        ``image`` is a path, a pydicom data set, or an array, with ``header`` or without
        (:func:`monai_cxrssl.data.reading.in_memory.film_in_memory`).

        ``MetaTensor`` ``(1, h, w)`` uint8, bright = dense, upright. Its metadata are those of
        :class:`monai_cxrssl.data.CXRReader` at this size, and ``film_shape``, rows and columns of the file, and
        ``film_affine``, ``(4, 4)`` float64 from (row, column, 0, 1) of the file to RAS in mm: that of a volume, else
        the plane in which ITK, and so 3D Slicer, lays a picture or a radiograph in DICOM.

        Raises:
            CXRReadError: it cannot be read as one chest X-ray, or the folder holds not one file.
        """
        return MetaTensor.ensure_torch_and_prune_meta(*self.read(image, header))

    def read(self, image: Any, header: Dataset | Mapping[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Load an image as an array ``(1, h, w)`` and its metadata, see :meth:`__call__`."""
        if is_in_memory(image):
            film = film_in_memory(image, header, self.window, side=self.side)
            path = film.path
            affine = display_affine(film.spacing) if film.affine is None else film.affine
        else:
            path = _only_file(image)
            film = read_film(path, self.window, side=self.side)
            affine = _itk_affine(path, film)
        pixels, _ = read_small(path, lambda _: film.levels(8), self.side, np.dtype(np.uint8), self.minimum_side)
        metadata = monai_metadata(film.metadata((pixels.shape[0], pixels.shape[1])))
        metadata["film_shape"] = np.asarray(film.shape)
        metadata["film_affine"] = affine
        # What was not made smaller may be the decoder's own read-only buffer.
        return pixels[None] if pixels.flags.writeable else pixels[None].copy(), metadata


class LoadSmallCXRd(MapTransform):
    """Dictionary form of :class:`LoadSmallCXR`.

    Beside each image, ``<key>_film`` keeps what brings a prediction back to the image:
    ``{"shape": (H, W), "decoded_shape": (h, w), "affine": (4, 4) list}``, plain values that survive whatever becomes of
    the tensor.

    Args:
        keys: entries that hold paths, data sets or arrays and are replaced by images; ``<key>_header`` is the DICOM
            header of an array that holds stored values.
        side, window, minimum_side: as in :class:`LoadSmallCXR`.
        allow_missing_keys: pass over keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        side: int = 384,
        window: Window = "first",
        minimum_side: int = 32,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadSmallCXR(side, window, minimum_side)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the item with its images loaded."""
        item = dict(data)
        for key in self.key_iterator(item):
            pixels, metadata = self.load.read(item[key], item.pop(f"{key}_header", None))
            item[key] = MetaTensor.ensure_torch_and_prune_meta(pixels, metadata)
            item[f"{key}_film"] = {
                "shape": tuple(int(side) for side in metadata["film_shape"]),
                "decoded_shape": (int(pixels.shape[-2]), int(pixels.shape[-1])),
                "affine": metadata["film_affine"].tolist(),
            }
        return item


def _only_file(filename: str | os.PathLike) -> str:
    name = os.fsdecode(filename)
    if not Path(name).is_dir():
        return name
    files = sorted(path for path in Path(name).iterdir() if path.is_file() and not path.name.startswith("."))
    if len(files) != 1:
        raise CXRReadError(name, f"is a folder of {len(files)} files, not of one image", "Name one file of it.")
    return str(files[0])


def _itk_affine(path: str, film: Film) -> np.ndarray:
    """Where ITK lays a pixel: (row, column, 0, 1) to RAS in mm."""
    kind = _kind(path)
    if kind in _VOLUMES:
        from monai_cxrssl.data.reading.volume import upright_matrix

        matrix = upright_matrix(path, read_whole_file(path), kind, MAX_PIXELS)
        if matrix is not None:
            return matrix
    # Pictures have pixels of 1 mm in ITK, whatever they say; rows and columns run along y and x of LPS.
    return display_affine(film.spacing if kind == "dicom" else None)


def _kind(path: str) -> str:
    try:
        return file_kind(path)
    except CXRReadError:
        return ""  # a raw image of JSRT, which has no header to know it by
