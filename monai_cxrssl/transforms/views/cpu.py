# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of one random view on a CPU core.

Deterministic; the geometry and the intensity formula stand in :mod:`~monai_cxrssl.transforms.views.parameters`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import torch

from monai_cxrssl.transforms.views.parameters import ViewParameters, reduction_thresholds

__all__ = ["intensity_table", "warp_view", "unwarp_view", "view_matrix", "render_view"]


@lru_cache(maxsize=2)
def _levels(count: int) -> tuple[np.ndarray, np.ndarray]:
    levels = np.linspace(0.0, 1.0, count)
    with np.errstate(divide="ignore"):
        return levels.astype(np.float32), np.log(levels).astype(np.float32)


def _adjust(levels: np.ndarray, view: ViewParameters) -> np.ndarray:
    """Brightness, contrast and clipping, in place, of intensities to which gamma has been applied."""
    np.multiply(levels, np.float32(view.contrast * view.brightness), out=levels)
    np.add(levels, np.float32(0.5 - 0.5 * view.contrast), out=levels)
    return np.clip(levels, 0.0, 1.0, out=levels)


def intensity_table(view: ViewParameters, count: int) -> np.ndarray:
    """Intensity of the view for each of ``count`` values of an integer pixel (256 or 65,536): float32 ``(count,)`` in
    [0, 1]."""
    levels, logarithms = _levels(count)
    # exp(gamma * log x) is a few times faster than a power, and exp(-inf) is the 0 that black needs.
    table = levels.copy() if view.gamma == 1 else np.exp(logarithms * np.float32(view.gamma))
    return _adjust(table, view)


def _inverse_matrix(view: ViewParameters, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """``(2, 3)`` matrix from output to source pixel indices; OpenCV's index i is the continuous coordinate i + 0.5."""
    step_x = view.width * source[1] / size[1] * (-1 if view.flip else 1)
    step_y = view.height * source[0] / size[0]
    # Quarter turns are exact, so that they move pixels without blending neighbours.
    quarter = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}.get(view.angle % 360)
    cosine, sine = quarter or (math.cos(math.radians(view.angle)), math.sin(math.radians(view.angle)))
    xx, xy, yx, yy = cosine * step_x, -sine * step_y, sine * step_x, cosine * step_y
    middle_u, middle_v = (size[1] - 1) / 2, (size[0] - 1) / 2
    shift_x = view.center_x * source[1] - 0.5 - xx * middle_u - xy * middle_v
    shift_y = view.center_y * source[0] - 0.5 - yx * middle_u - yy * middle_v
    return np.array([[xx, xy, shift_x], [yx, yy, shift_y]])


def view_matrix(view: ViewParameters, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """``(3, 3)`` matrix from (row, column, 1) of a pixel of the view to the source; whole numbers are pixel centres."""
    matrix = np.eye(3)
    # OpenCV's order is column, row.
    matrix[:2] = _inverse_matrix(view, source, size)[::-1, [1, 0, 2]]
    return matrix


def unwarp_view(planes: torch.Tensor, view: ViewParameters, source: tuple[int, int], nearest: bool) -> torch.Tensor:
    """Bring what was drawn on a view, ``(C, h, w)``, back onto its source: 0 where the view did not look.

    Args:
        planes, view: on the view; its geometry is used, its changes of intensity stay.
        source: height and width of the source.
        nearest: take the nearest pixel, whatever the type (labels), instead of interpolating linearly (intensities).

    Returns:
        Tensor ``(C, H, W)`` on the device of ``planes``: of the same type, but float32 where integers are interpolated.
    """
    size = (int(planes.shape[1]), int(planes.shape[2]))
    if not nearest:
        dtype = planes.dtype if planes.is_floating_point() else torch.float32
        matrix = _inverse_matrix(view, source, size)
        whole = [cv2.warpAffine(plane, matrix, source[::-1]) for plane in planes.detach().cpu().float().numpy()]
        return torch.from_numpy(np.stack(whole)).to(planes.device, dtype)
    # OpenCV warps neither bool nor int64, so the pixels are picked here.
    back = np.linalg.inv(view_matrix(view, source, size))
    row, column = np.arange(source[0])[:, None], np.arange(source[1])[None]
    y, x = (np.floor(back[k, 0] * row + back[k, 1] * column + back[k, 2] + 0.5).astype(np.int64) for k in (0, 1))
    inside = torch.from_numpy((y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])).to(planes.device)
    pixel = torch.from_numpy(np.clip(y, 0, size[0] - 1) * size[1] + np.clip(x, 0, size[1] - 1)).to(planes.device)
    return torch.where(inside, planes.flatten(1)[:, pixel], torch.zeros((), dtype=planes.dtype, device=planes.device))


def _reduce(plane: np.ndarray, matrix: np.ndarray, size: tuple[int, int], factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Shrink the part of the plane that the view sees ``factor`` times by area averages, and fit the matrix to it."""
    corners = matrix @ np.array([[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1], [1, 1, 1, 1]])
    limits = []
    for axis, length in ((0, plane.shape[1]), (1, plane.shape[0])):
        # Two cells of margin: one for the neighbour that interpolation reads, one for rounding down to whole cells.
        first = max(0, math.floor(corners[axis].min() / factor) - 2) * factor
        last = min(length, (math.ceil(corners[axis].max() / factor) + 2) * factor)
        limits.append((min(first, (length - 1) // factor * factor), max(last, min(first + factor, length))))
    (left, right), (top, bottom) = limits
    part = plane[top:bottom, left:right]
    pad_y, pad_x = -part.shape[0] % factor, -part.shape[1] % factor
    if pad_y or pad_x:
        part = cv2.copyMakeBorder(part, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE)
    small = cv2.resize(part, (part.shape[1] // factor, part.shape[0] // factor), interpolation=cv2.INTER_AREA)
    fitted = matrix / factor
    fitted[:, 2] = (matrix[:, 2] + 0.5 - (left, top)) / factor - 0.5
    return small, fitted


def warp_view(
    plane: np.ndarray, view: ViewParameters, size: tuple[int, int], fill: float = 0.0, nearest: bool = False
) -> np.ndarray:
    """Crop, turn, flip and scale a plane ``(H, W)`` of uint8, uint16 or float32 in one warp, to ``size`` and of its
    type.

    Args:
        plane, view, size: the source; its geometry is used; height and width of the result.
        fill: value outside the source, in units of ``plane``.
        nearest: take the nearest pixel (labels) instead of interpolating (intensities). An interpolated view that spans
            about two source pixels per pixel or more is made from a source reduced by area averages.
    """
    source = (plane.shape[0], plane.shape[1])
    matrix = _inverse_matrix(view, source, size)
    if not nearest:
        step = math.sqrt(view.height * source[0] * view.width * source[1] / (size[0] * size[1]))
        level = sum(step >= threshold for threshold in reduction_thresholds(source, size))
        if level:
            plane, matrix = _reduce(plane, matrix, size, 2**level)
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)
    return cv2.warpAffine(plane, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)


def render_view(
    plane: np.ndarray, view: ViewParameters, size: tuple[int, int], fill: float = 0.0, return_uint8: bool = False
) -> np.ndarray:
    """Render one view of ``size`` (height, width): float32 in [0, 1], or uint8 in 0 to 255 with ``return_uint8``.

    ``plane`` is from :func:`image_plane`; ``fill`` is the intensity in [0, 1] outside the source, before the lookup: it
    changes with the image, as collimated (dark) image does.
    """
    if plane.dtype == np.float32:
        warped = warp_view(plane, view, size, fill)
        np.maximum(warped, 0, out=warped)
        rendered = _adjust(warped if view.gamma == 1 else np.power(warped, np.float32(view.gamma)), view)
        if return_uint8:
            rendered = np.rint(rendered * 255).astype(np.uint8)
    else:
        count = int(np.iinfo(plane.dtype).max) + 1
        table = intensity_table(view, count)
        if return_uint8:
            table = np.rint(table * 255).astype(np.uint8)
        warped = warp_view(plane, view, size, round(fill * (count - 1)))
        rendered = cv2.LUT(warped, table) if count == 256 else np.take(table, warped)
    if view.blur_sigma > 0:
        side = 2 * math.ceil(3 * view.blur_sigma) + 1
        rendered = cv2.GaussianBlur(
            rendered, (side, side), view.blur_sigma, sigmaY=view.blur_sigma, borderType=cv2.BORDER_REPLICATE
        )
    return rendered
