# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Deterministic resizing for evaluation and inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.spatial.moved_grid import on_new_grid, on_old_grid, pop_trace, window_matrix
from monai_cxrssl.transforms.spatial.planes import image_plane, mask_plane, view_size

__all__ = ["ResizeCXR", "ResizeCXRd"]

_MODES = ("pad", "stretch", "crop")


class ResizeCXR(InvertibleTransform):
    """Resize an image to a fixed size; where it shrinks, each pixel is the average of the area that it covers.

    A ``MetaTensor`` keeps its metadata, with the affine and spacing of the new grid, and a record for :meth:`inverse`.
    An option out of its range is a ConfigurationError.

    Args:
        size: side of the result in pixels, or ``[height, width]``.
        mode: what happens to an image of another aspect ratio. ``"pad"`` keeps all of it and its proportions, centred
            on ``fill``; ``"stretch"`` keeps all of it and distorts it; ``"crop"`` keeps the proportions and cuts off
            what is too long, on both sides.
        fill: intensity in [0, 1] around a padded image.
    """

    def __init__(self, size: int | Sequence[int] = 224, mode: str = "pad", fill: float = 0.0) -> None:
        self.size = view_size(size)
        if mode not in _MODES:
            raise ConfigurationError(f"mode is {mode!r}; choose one of {', '.join(map(repr, _MODES))}.")
        if not 0.0 <= fill <= 1.0:
            raise ConfigurationError(f"fill is {fill!r}; give an intensity between 0 (dark) and 1.")
        self.mode, self.fill = mode, float(fill)

    def __call__(self, image: Any) -> torch.Tensor:
        """Resize one image to a float32 tensor ``(1, h, w)`` in [0, 1]: a ``MetaTensor`` where the image is one, else
        plain.

        It is ``(1, H, W)``, uint8 or uint16 (full range), or floating point in [0, 1]; a TypeError or ValueError says
        what else.
        """
        plane = image_plane(image)
        if plane.dtype != np.float32:
            plane = plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)
        resized = torch.from_numpy(self._resize(plane, self.fill, nearest=False).clip(0, 1)[None])
        return self._with_metadata(resized, image, "bilinear") if isinstance(image, MetaTensor) else resized

    def apply_mask(self, mask: Any) -> torch.Tensor:
        """Resize a mask ``(1, H, W)`` of labels 0 to 255 with its image, nearest pixel, padded by 0: uint8."""
        resized = torch.from_numpy(self._resize(mask_plane(mask), 0, nearest=True)[None])
        return self._with_metadata(resized, mask, "nearest") if isinstance(mask, MetaTensor) else resized

    def _with_metadata(self, resized: torch.Tensor, source: MetaTensor, mode: str) -> torch.Tensor:
        windows = self._windows(int(source.shape[-2]), int(source.shape[-1]))
        # "mode" is the name under which Invertd looks for it, to set nearest pixels for a mask drawn on an image.
        return on_new_grid(resized, source, window_matrix(*windows), self, mode=mode)

    def inverse(self, data: Any) -> torch.Tensor:
        """Bring a resized image or mask, or what a network drew on it, back onto the grid of the image.

        Args:
            data: ``MetaTensor`` ``(C, h, w)`` of the size of this transform, with its record. An image comes back by
                :meth:`invert`; a mask, and what ``Invertd`` takes for one, by the nearest pixel, whatever its type.

        Returns:
            ``MetaTensor`` ``(C, H, W)``, 0 where ``"crop"`` had cut off; of the same type, but float32 where integers
            are interpolated.

        Raises:
            TypeError, ValueError, RuntimeError: there is no record of this transform, or the size is another one.
        """
        moved, shape, extra = pop_trace(data, self)
        planes = moved.as_tensor()
        if extra["mode"] == "nearest":
            back = self._pick(planes, shape)
        else:
            dtype = planes.dtype if planes.is_floating_point() else torch.float32
            back = torch.cat([self.invert(plane[None].float(), shape) for plane in planes]).to(planes.device, dtype)
        return on_old_grid(back, moved, window_matrix(*self._windows(*shape)), extra)

    def _pick(self, planes: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """The nearest pixel of ``(C, h, w)`` for each of ``(C, H, W)``; OpenCV resizes neither bool nor int64."""
        if tuple(planes.shape[1:]) != self.size:
            raise ValueError(
                f"The planes to bring back have the shape {tuple(planes.shape)}; expected (C, {self.size})."
            )
        seen, drawn = self._windows(*shape)
        rows, columns = (
            drawn[axis] + (2 * torch.arange(seen[axis + 2]) + 1) * drawn[axis + 2] // (2 * seen[axis + 2])
            for axis in (0, 1)
        )
        whole = torch.zeros((planes.shape[0], *shape), dtype=planes.dtype, device=planes.device)
        top, left, height, width = seen
        whole[:, top : top + height, left : left + width] = planes[:, rows][:, :, columns]
        return whole

    def invert(self, plane: Any, shape: Sequence[int], decoded_shape: Sequence[int] | None = None) -> torch.Tensor:
        """Bring a map of probabilities ``(1, h, w)``, of the size of this transform, back to the image: float32
        ``(1, H, W)``.

        Padding is cut off, and what ``"crop"`` had cut off is 0. The rest is interpolated linearly where it grows and
        averaged by area where it shrinks.

        Args:
            plane, shape: array or tensor, floating point (a ValueError for another size); ``(H, W)`` of the result.
            decoded_shape: rows and columns of the image that was resized, where that was a smaller copy of the image of
                ``shape``: rounding may have given it a margin of one pixel more or less.
        """
        found = np.asarray(plane.detach().cpu() if isinstance(plane, torch.Tensor) else plane, dtype=np.float32)
        if found.shape != (1, *self.size):
            raise ValueError(f"The plane to bring back has the shape {found.shape}; expected {(1, *self.size)}.")
        rows, columns = (int(side) for side in shape)
        seen = (rows, columns) if decoded_shape is None else (int(decoded_shape[0]), int(decoded_shape[1]))
        if self.mode == "crop":
            top, left, kept_rows, kept_columns = self._kept(*seen)
            # Of the smaller copy, what was kept is known in whole pixels; of the image itself, in fractions of them.
            factors = [[rows / seen[0]], [columns / seen[1]]]
            ends = np.array([[top, top + kept_rows], [left, left + kept_columns]]) * factors
            (top, bottom), (left, right) = ends.round().astype(int)
            whole = np.zeros((rows, columns), np.float32)
            bottom, right = max(bottom, top + 1), max(right, left + 1)
            whole[top:bottom, left:right] = _resample(found[0], (bottom - top, right - left), nearest=False)
            return torch.from_numpy(whole[None])
        top, left, height, width = self._inside(*seen) if self.mode == "pad" else (0, 0, *self.size)
        inside = np.ascontiguousarray(found[0, top : top + height, left : left + width])
        return torch.from_numpy(_resample(inside, (rows, columns), nearest=False)[None])

    def _windows(self, rows: int, columns: int) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
        """What is seen of an image, and where on the result it is drawn: top, left, height and width of each."""
        seen = self._kept(rows, columns) if self.mode == "crop" else (0, 0, rows, columns)
        return seen, self._inside(rows, columns) if self.mode == "pad" else (0, 0, *self.size)

    def _kept(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of what ``"crop"`` keeps of an image."""
        height, width = self.size
        kept_rows = max(1, min(rows, round(columns * height / width)))
        kept_columns = max(1, min(columns, round(rows * width / height)))
        return (rows - kept_rows) // 2, (columns - kept_columns) // 2, kept_rows, kept_columns

    def _inside(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of an image within its padding."""
        height, width = self.size
        factor = min(height / rows, width / columns)
        inner = (max(1, min(height, round(rows * factor))), max(1, min(width, round(columns * factor))))
        return (height - inner[0]) // 2, (width - inner[1]) // 2, *inner

    def _resize(self, plane: np.ndarray, fill: float, nearest: bool) -> np.ndarray:
        if self.mode == "crop":
            top, left, kept_rows, kept_columns = self._kept(*plane.shape)
            plane = plane[top : top + kept_rows, left : left + kept_columns]
        if self.mode != "pad":
            return _resample(plane, self.size, nearest)
        top, left, *inner = self._inside(*plane.shape)
        padded = np.full(self.size, fill, dtype=plane.dtype)
        padded[top : top + inner[0], left : left + inner[1]] = _resample(plane, (inner[0], inner[1]), nearest)
        return padded


class ResizeCXRd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`ResizeCXR`; ``Invertd`` brings images, masks and predictions back.

    Args:
        keys: items with an image ``(1, H, W)``.
        size, mode, fill: see :class:`ResizeCXR`.
        mask_keys: items with a mask ``(1, H, W)``, resized with nearest pixels.
        allow_missing_keys: pass over ``keys`` and ``mask_keys`` that a dictionary lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int | Sequence[int] = 224,
        mode: str = "pad",
        fill: float = 0.0,
        mask_keys: KeysCollection = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.resize = ResizeCXR(size=size, mode=mode, fill=fill)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize every image and mask. KeyError: one is missing; TypeError or ValueError: one is not as described."""
        result = dict(data)
        for resize, keys in ((self.resize, self.keys), (self.resize.apply_mask, self.mask_keys)):
            for key in keys:
                if key in data:
                    result[key] = resize(data[key])
                elif not self.allow_missing_keys:
                    raise KeyError(f"The item has no {key!r} to resize; it has {', '.join(map(repr, data))}.")
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring every image and mask of the item back onto its grid; a KeyError if one is missing, others as of
        :meth:`ResizeCXR.inverse`."""
        result = dict(data)
        for key in (*self.keys, *self.mask_keys):
            if key in data:
                result[key] = self.resize.inverse(data[key])
            elif not self.allow_missing_keys:
                raise KeyError(f"The item has no {key!r} to bring back; it has {', '.join(map(repr, data))}.")
        return result


def _resample(plane: np.ndarray, size: tuple[int, int], nearest: bool) -> np.ndarray:
    if nearest:
        return cv2.resize(plane, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    # OpenCV enlarges in area mode by repeating pixels, so an axis that grows is interpolated on its own.
    shrunk = (min(size[0], plane.shape[0]), min(size[1], plane.shape[1]))
    if shrunk != plane.shape:
        plane = cv2.resize(plane, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        plane = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    return plane
