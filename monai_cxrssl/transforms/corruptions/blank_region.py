# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Blanking of lungs, surroundings or corners."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.transforms.spatial.planes import image_plane, mask_plane

__all__ = ["BlankRegion", "BlankRegiond"]

#: The regions, and their default extent as a share of the image's height and width.
_EXTENT = {"lungs": 0.0, "outside_lungs": 0.0, "corners": 0.2, "border": 0.1}
_FILLS = ("mean", "zero", "blur")
#: Standard deviation of the blur as a share of the longer side: ribs, vessels and letters are gone.
_BLUR = 0.05


class BlankRegion(Transform):
    """Take the information out of a region of an image, to see whether a network's score depends on it; nothing is
    random.

    A network that still tells the classes apart when the ``"lungs"`` are blanked, or fails once the ``"corners"`` are,
    reads something other than the lungs (after DeGrave et al. 2021, Nature Machine Intelligence 3:610).

    ``"lungs"`` and ``"outside_lungs"`` blank an image's two complementary parts. Both leave the outline of the lungs to
    be seen, which is information of its own (an opacity may push it in); ``margin`` widens the lungs, so that their
    rim, with the costophrenic angles and the heart's border, goes with them, and rounds the outline off. An option out
    of its range is a ConfigurationError.

    Args:
        region: ``"lungs"``, ``"outside_lungs"``, ``"corners"`` (four rectangles) or ``"border"`` (a frame).
        fill: ``"mean"`` of the pixels that are kept, so that the fill tells nothing of what is gone; ``"zero"``, as
            dark as air; or ``"blur"``, which keeps the coarse brightness of the region and takes its detail only.
        margin: what is added around the lungs, as a share of the longer side, 0 or more: 0.03 is 15 px of 512.
        extent: height and width of a corner, or thickness of the border, as a share of the image's height and width, in
            (0, 0.5); by default 0.2 for corners and 0.1 for the border. Lungs that reach in are blanked too.

    Example:
        >>> BlankRegion("corners", fill="zero", extent=0.25)(torch.ones(1, 4, 4))[0, 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """

    def __init__(
        self, region: str = "lungs", fill: str = "mean", margin: float = 0.03, extent: float | None = None
    ) -> None:
        if region not in _EXTENT:
            raise ConfigurationError(f"region is {region!r}; choose one of {', '.join(map(repr, _EXTENT))}.")
        if fill not in _FILLS:
            raise ConfigurationError(f"fill is {fill!r}; choose one of {', '.join(map(repr, _FILLS))}.")
        if not 0 <= margin <= 1:
            raise ConfigurationError(f"margin is {margin!r}; give a share of the longer side of the image, 0 to 1.")
        if extent is not None and region not in ("corners", "border"):
            raise ConfigurationError(f"extent is {extent!r}, but the region {region!r} is as large as its mask.")
        if extent is not None and not 0 < extent < 0.5:
            raise ConfigurationError(f"extent is {extent!r}; give a share of the image's side between 0 and 0.5.")
        self.region, self.fill, self.margin = region, fill, float(margin)
        self.extent = _EXTENT[region] if extent is None else float(extent)

    @property
    def needs_lung_mask(self) -> bool:
        """Whether the region is known from a lung mask only."""
        return self.region in ("lungs", "outside_lungs")

    def __call__(self, image: Any, lung_mask: Any = None) -> torch.Tensor:
        """Blank the region of one image; return a copy, a plain float32 tensor ``(1, H, W)`` in [0, 1].

        Args:
            image: array or tensor ``(1, H, W)``, uint8 or uint16 (full range), or floating point in [0, 1].
            lung_mask: ``(1, H, W)``, bool or numbers, lung is what is not 0; for the two regions that need it.

        Raises:
            DatalistError: the lung mask is missing, empty, or on another grid; or nothing would be left of the image.
            TypeError, ValueError: the image is not as described; the sentence says how.
        """
        plane = image_plane(image)
        if plane.dtype != np.float32:
            plane = plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)
        blanked = self.blanked(plane.shape, lung_mask)
        if blanked.all():
            raise DatalistError(
                f"Blanking the region {self.region!r} of an image of {plane.shape[1]} x {plane.shape[0]} px would "
                "leave nothing of it. Leave the image out, or choose a smaller margin or extent."
            )
        if self.fill == "blur":
            filled: Any = cv2.GaussianBlur(plane, (0, 0), _BLUR * max(plane.shape))
        else:
            filled = plane[~blanked].mean(dtype=np.float64) if self.fill == "mean" else 0.0
        return torch.from_numpy(np.where(blanked, filled, plane).astype(np.float32)[None])

    def blanked(self, shape: tuple[int, ...], lung_mask: Any = None) -> np.ndarray:
        """Return the pixels that are blanked, bool ``(H, W)``; arguments and errors as in a call."""
        rows, columns = shape
        if not self.needs_lung_mask:
            near_y, near_x = (_near_an_end(side, self.extent) for side in (rows, columns))
            outer = near_y[:, None], near_x[None, :]
            return outer[0] & outer[1] if self.region == "corners" else outer[0] | outer[1]
        if lung_mask is None:
            raise DatalistError(
                f"The region {self.region!r} is known from a lung mask only, and the image has none. Leave the image "
                "out, or predict a mask first."
            )
        lung = mask_plane(lung_mask != 0)
        if lung.shape != (rows, columns):
            raise DatalistError(
                f"The lung mask has shape {(1, *lung.shape)} for an image of shape {(1, rows, columns)}; expected the "
                "same."
            )
        if not lung.any():
            raise DatalistError(
                f"The lung mask marks no lung, so the region {self.region!r} has no place. Leave the image out."
            )
        distance = cv2.distanceTransform((lung == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        wide = distance <= self.margin * max(rows, columns)
        return wide if self.region == "lungs" else ~wide


class BlankRegiond(MapTransform):
    """Dictionary form of :class:`BlankRegion`; images keep their kind, floating-point type and metadata.

    Args:
        keys: items with an image ``(1, H, W)``.
        lung_mask_key: item with the lung mask, read only by the regions that need it.
        allow_missing_keys: pass over ``keys`` that a dictionary lacks; the lung mask is never passed over.
        region, fill, margin, extent: see :class:`BlankRegion`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lung_mask_key: str = "lung_mask",
        allow_missing_keys: bool = False,
        region: str = "lungs",
        fill: str = "mean",
        margin: float = 0.03,
        extent: float | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.lung_mask_key = lung_mask_key
        self.blank_region = BlankRegion(region, fill, margin, extent)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Blank the region of every image of the item; a KeyError if one is missing."""
        result = dict(data)
        lung_mask = data.get(self.lung_mask_key) if self.blank_region.needs_lung_mask else None
        for key in self.key_iterator(result):
            blanked = self.blank_region(data[key], lung_mask)
            dtype = data[key].dtype if "float" in str(data[key].dtype) else torch.float32
            result[key] = convert_to_dst_type(blanked, dst=data[key], dtype=dtype)[0]
        return result


def _near_an_end(side: int, extent: float) -> np.ndarray:
    """Bool ``(side,)``: the pixels within a share of the side of either end, at least one."""
    reach = max(1, round(extent * side))
    place = np.arange(side)
    return (place < reach) | (place >= side - reach)
