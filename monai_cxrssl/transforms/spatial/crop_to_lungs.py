# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Crop an image to its lungs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple

from monai_cxrssl.data.stores.expected_lungs import expected_lung_mask
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.transforms.spatial.moved_grid import on_new_grid, on_old_grid, pop_trace, window_matrix
from monai_cxrssl.transforms.spatial.planes import mask_plane

__all__ = ["CropToLungs", "CropToLungsd"]

Box = tuple[int, int, int, int]

_WITHOUT_LUNGS = ("error", "whole", "expected")


class CropToLungs(InvertibleTransform):
    """Crop an image to the bounding box of its lung mask, and pad it back.

    A crop keeps its pixels: nothing is interpolated, and images and masks are cropped alike. The inverse puts what was
    drawn on the crop back in its place, with 0 around it. An option out of its range is a ConfigurationError.

    Args:
        margin: what is added on each side of the box, as a share of its height and width, 0 or more, up to the border.
        without_lungs: what happens to an image without a mask, or with an empty one: ``"error"``; ``"whole"``, the
            image stays whole; or ``"expected"``, it is cropped to where the lungs of a frontal image are likely to be
            (:mod:`monai_cxrssl.data.stores.expected_lungs`).

    Example:
        >>> image, lungs = torch.rand(1, 100, 80), torch.zeros(1, 100, 80)
        >>> lungs[:, 20:70, 10:60] = 1
        >>> CropToLungs(margin=0.1)(image, lungs).shape
        torch.Size([1, 60, 60])
    """

    def __init__(self, margin: float = 0.05, without_lungs: str = "error") -> None:
        if not 0 <= margin < float("inf"):
            raise ConfigurationError(f"margin is {margin!r}; give a share of the lungs' height and width, 0 or more.")
        if without_lungs not in _WITHOUT_LUNGS:
            raise ConfigurationError(
                f"without_lungs is {without_lungs!r}; choose one of {', '.join(map(repr, _WITHOUT_LUNGS))}."
            )
        self.margin, self.without_lungs = float(margin), without_lungs

    def box(self, shape: tuple[int, int], lung_mask: Any = None) -> Box:
        """Find what to keep of an image: top, left, height and width in pixels.

        Args:
            shape: rows and columns of the image.
            lung_mask: ``(1, H, W)``, bool or numbers, lung is what is not 0; None where there is none.

        Raises:
            DatalistError: the mask is on another grid; or, with ``without_lungs="error"``, missing or empty.
            TypeError, ValueError: the mask is no array ``(1, H, W)``.
        """
        lung = None if lung_mask is None else mask_plane(lung_mask != 0)
        if lung is not None and lung.shape != shape:
            raise DatalistError(
                f"The lung mask has shape {(1, *lung.shape)} for an image of shape {(1, *shape)}; expected the same."
            )
        if lung is None or not lung.any():
            if self.without_lungs == "error":
                found = "has no lung mask" if lung is None else "has a lung mask that marks no lung"
                raise DatalistError(
                    f"The image {found}, so it cannot be cropped to its lungs. Leave it out, or set without_lungs to "
                    '"whole" or "expected".'
                )
            if self.without_lungs == "whole":
                return 0, 0, *shape
            lung = expected_lung_mask(shape)
        ends = []
        for axis in (0, 1):
            place = np.flatnonzero(lung.any(axis=1 - axis))
            # An image of a few pixels may have no pixel whose centre lies in an expected lung.
            first, last = (int(place[0]), int(place[-1]) + 1) if place.size else (0, shape[axis])
            wide = round(self.margin * (last - first))
            ends.append((max(0, first - wide), min(shape[axis], last + wide)))
        (top, bottom), (left, right) = ends
        return top, left, bottom - top, right - left

    def __call__(self, image: Any, lung_mask: Any = None) -> torch.Tensor:
        """Crop one image ``(C, H, W)`` of any type; ``lung_mask`` and errors as of :meth:`box`.

        Tensor ``(C, h, w)`` of the same type, a copy: a ``MetaTensor`` with the crop's affine where the image is one,
        else a plain tensor.
        """
        return self.crop(image, self.box(_spatial_shape(image), lung_mask))

    def crop(self, image: Any, box: Box) -> torch.Tensor:
        """Crop one image to a given box (top, left, height, width); input and output as in :meth:`__call__`."""
        top, left, height, width = box
        part = image[:, top : top + height, left : left + width]
        # A copy: a view would keep the whole image in a cache.
        plain = torch.from_numpy(part.copy()) if isinstance(part, np.ndarray) else _plain(part).clone()
        return on_new_grid(plain, image, window_matrix(box, (0, 0, height, width)), self, box=list(box))

    def inverse(self, data: Any) -> torch.Tensor:
        """Put a crop, or what was drawn on it, back in its place: ``MetaTensor`` ``(C, H, W)``, 0 around the crop.

        ``data`` is a ``MetaTensor`` ``(C, h, w)`` with the record of the crop. TypeError, ValueError or RuntimeError:
        there is no record of this crop, or the size is another one.
        """
        moved, shape, extra = pop_trace(data, self)
        top, left, height, width = (int(side) for side in extra["box"])
        if moved.shape[-2:] != (height, width):
            raise ValueError(
                f"What is to be put back has {moved.shape[-2]} x {moved.shape[-1]} pixels; the crop had {height} x "
                f"{width}."
            )
        whole = torch.zeros((*moved.shape[:-2], *shape), dtype=moved.dtype, device=moved.device)
        whole[..., top : top + height, left : left + width] = moved.as_tensor()
        return on_old_grid(whole, moved, window_matrix((top, left, height, width), (0, 0, height, width)), extra)


class CropToLungsd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`CropToLungs`: one box for all items, ``Invertd`` pads them back.

    Args:
        keys: items with an image ``(C, H, W)``.
        mask_keys: more items on the same grid to be cropped, such as lesion masks.
        lung_mask_key: item with the lung mask, which is cropped as well. An image without one may lack it or hold None.
        margin, without_lungs: see :class:`CropToLungs`.
        allow_missing_keys: pass over ``keys`` and ``mask_keys`` that a dictionary lacks; ``without_lungs`` alone
            decides on a missing lung mask.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection = (),
        lung_mask_key: str = "lung_mask",
        margin: float = 0.05,
        without_lungs: str = "error",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.lung_mask_key = lung_mask_key
        self.crop_to_lungs = CropToLungs(margin=margin, without_lungs=without_lungs)

    def _present(self, data: Mapping[Hashable, Any]) -> list[Hashable]:
        """Names of the items to crop, each once."""
        names = dict.fromkeys((*self.keys, *self.mask_keys))
        for name in names:
            if name not in data and not self.allow_missing_keys and name != self.lung_mask_key:
                raise KeyError(f"The item has no {name!r} to crop; it has {', '.join(map(repr, data))}.")
        names[self.lung_mask_key] = None
        return [name for name in names if data.get(name) is not None]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop every item to one box; errors as of :meth:`CropToLungs.box`.

        Raises:
            KeyError, DatalistError: an item is missing; the items are not on one grid.
            TypeError, ValueError: an item is no array ``(C, H, W)``.
        """
        result = dict(data)
        present = self._present(data)
        shapes = {name: _spatial_shape(data[name], name) for name in present}
        if not shapes:
            return result
        shape = next(iter(shapes.values()))
        if any(other != shape for other in shapes.values()):
            found = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in shapes.items())
            raise DatalistError(f"Items that are cropped together must have one height and width; found {found}.")
        box = self.crop_to_lungs.box(shape, data.get(self.lung_mask_key))
        for name in present:
            result[name] = self.crop_to_lungs.crop(data[name], box)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Put every cropped item back in its place; errors as in :meth:`CropToLungs.inverse`."""
        return {**data, **{name: self.crop_to_lungs.inverse(data[name]) for name in self._present(data)}}


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.as_tensor() if hasattr(image, "as_tensor") else image


def _spatial_shape(image: Any, name: Hashable = "image") -> tuple[int, int]:
    shape: tuple[int, ...] = tuple(getattr(image, "shape", ()))
    if len(shape) != 3 or 0 in shape:
        found = f"shape {shape}" if shape else f"type {type(image).__name__}"
        raise ValueError(f"The {name} to crop has {found}; expected an array (C, H, W). Load it with LoadCXRd first.")
    return int(shape[1]), int(shape[2])
