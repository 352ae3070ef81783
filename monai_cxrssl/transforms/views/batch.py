# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of random views of a batch on its device.

Nothing here waits for the device. The geometry and the intensity formula stand in
:mod:`~monai_cxrssl.transforms.views.parameters`; the result equals that of
:mod:`~monai_cxrssl.transforms.views.cpu` within interpolation and rounding tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from monai_cxrssl.transforms.views.parameters import VIEW_FIELDS, reduction_thresholds, stack_views

__all__ = ["warp_batch", "render_batch"]

_FULL_RANGE = {torch.uint8: 255.0, torch.uint16: 65535.0}


def _view_array(images: torch.Tensor, views: Any, what: str) -> torch.Tensor:
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.shape[1] != 1 or images.numel() == 0:
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(f"The batch of {what} is {found}; expected a tensor (B, 1, H, W) with at least one pixel.")
    array = views if isinstance(views, torch.Tensor) else stack_views(views)
    array = array.unsqueeze(1) if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[0] != images.shape[0] or array.shape[2] != len(VIEW_FIELDS):
        raise ValueError(
            f"The views have shape {tuple(array.shape)} for {images.shape[0]} {what}; "
            f"expected ({images.shape[0]}, V, {len(VIEW_FIELDS)}) or ({images.shape[0]}, {len(VIEW_FIELDS)})."
        )
    return array.to(images.device, torch.float32, non_blocking=True)


def _sampling_points(
    views: torch.Tensor, source: Sequence[int | torch.Tensor], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Continuous source coordinates x and y, each ``(B, V, h, w)``, of every output pixel."""
    center_y, center_x, height, width, angle, flip = (column[..., None, None] for column in views[..., :6].unbind(-1))
    across = (torch.arange(size[1], device=views.device, dtype=torch.float32) + 0.5) / size[1] - 0.5
    down = (torch.arange(size[0], device=views.device, dtype=torch.float32) + 0.5) / size[0] - 0.5
    dx = across[None, :] * (width * source[1] * (1 - 2 * flip))
    dy = down[:, None] * (height * source[0])
    cosine, sine = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
    # Written out instead of F.affine_grid: its matrix product is rounded to TF32 or half precision where the training
    # allows that, which moves the points by up to a pixel.
    return center_x * source[1] + cosine * dx - sine * dy, center_y * source[0] + sine * dx + cosine * dy


def _grid_sample(images: torch.Tensor, x: torch.Tensor, y: torch.Tensor, pixel: int, mode: str) -> torch.Tensor:
    """Sample ``(B, 1, H, W)``, whose pixels are ``pixel`` units wide, at ``(B, V, h, w)`` points."""
    batch, count, rows, columns = x.shape
    grid = torch.stack((x * (2 / (pixel * images.shape[3])) - 1, y * (2 / (pixel * images.shape[2])) - 1), dim=-1)
    # The V views of an image lie below each other in one grid, so that no image is copied V times.
    sampled = F.grid_sample(
        images, grid.view(batch, count * rows, columns, 2), mode=mode, padding_mode="zeros", align_corners=False
    )
    return sampled.view(batch, count, rows, columns)


def _film_sizes(images: torch.Tensor, shapes: torch.Tensor | None) -> torch.Tensor | None:
    if shapes is None:
        return None
    if shapes.shape != (len(images), 2) or shapes.is_floating_point():
        raise ValueError(
            f"The images' sizes are {shapes.dtype} {tuple(shapes.shape)}; expected whole numbers ({len(images)}, 2)."
        )
    return shapes.to(images.device, non_blocking=True)


def _cut(images: torch.Tensor, shapes: torch.Tensor | None, cell: int = 1) -> torch.Tensor:
    """Set to 0 what lies beyond each image, in an image whose pixels are ``cell`` wide."""
    if shapes is None:
        return images
    ends = (shapes + (cell - 1)) // cell
    rows = torch.arange(images.shape[2], device=images.device) < ends[:, :1]
    columns = torch.arange(images.shape[3], device=images.device) < ends[:, 1:]
    return images * (rows[:, :, None] & columns[:, None, :])[:, None]


def warp_batch(
    images: torch.Tensor, views: Any, size: tuple[int, int], nearest: bool = False, shapes: torch.Tensor | None = None
) -> torch.Tensor:
    """Crop, turn, flip and scale V views of every image; zero outside the image.

    Args:
        images: tensor ``(B, 1, H, W)`` of any type, on any device.
        views: float tensor ``(B, V, 10)`` or ``(B, 10)`` in the order of ``VIEW_FIELDS``, or :class:`ViewParameters` in
            B sequences of V, or in one sequence of B.
        size: height and width of the views.
        nearest: take the nearest pixel (labels) instead of interpolating (intensities).
        shapes: whole numbers ``(B, 2)``, height and width of each image where they differ; an image lies in the left
            upper corner of its image, and beyond it its last row and column go on
            (:func:`monai_cxrssl.data.sampling.deferred_views.stack_films`), which no view shows. By default H and W.

    Returns:
        float32 tensor ``(B, V, 1, h, w)`` in units of ``images``.

    Raises:
        ValueError: ``images``, ``views`` or ``shapes`` have a wrong shape.
    """
    array = _view_array(images, views, "masks" if nearest else "images")
    shapes = _film_sizes(images, shapes)
    grid = (images.shape[2], images.shape[3])
    source: Sequence[int | torch.Tensor] = grid
    if shapes is not None:
        source = [side[:, None, None, None].float() for side in shapes.unbind(1)]
    with torch.autocast(images.device.type, enabled=False):
        pixels = images.to(torch.float32)
        x, y = _sampling_points(array, source, size)
        warped = _grid_sample(_cut(pixels, shapes), x, y, 1, "nearest" if nearest else "bilinear")
        if not nearest:
            area = grid[0] * grid[1] if shapes is None else shapes.prod(1, keepdim=True).float()
            step = torch.sqrt(array[..., 2] * array[..., 3] * (area / (size[0] * size[1])))
            for level, threshold in enumerate(reduction_thresholds(grid, size), start=1):
                cell = 2**level
                padded = F.pad(pixels, (0, -grid[1] % cell, 0, -grid[0] % cell), mode="replicate")
                coarse = _grid_sample(_cut(F.avg_pool2d(padded, cell), shapes, cell), x, y, cell, "bilinear")
                # Chosen for each view without asking the device which views need it.
                warped = torch.where((step >= threshold)[..., None, None], coarse, warped)
    return warped.unsqueeze(2)


def _blur(pixels: torch.Tensor, sigma: torch.Tensor, largest: float) -> torch.Tensor:
    """Blur each ``(h, w)`` plane of ``(N, h, w)`` by its own ``sigma (N,)``; 0 leaves it as it is."""
    count, rows, columns = pixels.shape
    radius = math.ceil(3 * largest)
    offsets = torch.arange(-radius, radius + 1, device=pixels.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    padded = F.pad(pixels[None], (radius,) * 4, mode="replicate")
    padded = F.conv2d(padded, kernel.view(count, 1, 1, -1), groups=count)
    return F.conv2d(padded, kernel.view(count, 1, -1, 1), groups=count).view(count, rows, columns)


def render_batch(
    images: torch.Tensor,
    views: Any,
    size: tuple[int, int],
    fill: float = 0.0,
    largest_blur_sigma: float = 0.0,
    return_uint8: bool = False,
    shapes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Render V views of every image of a batch; ``views``, ``size`` and ``shapes`` are those of :func:`warp_batch`.

    Args:
        images: tensor ``(B, 1, H, W)``, uint8 or uint16 (full range) or floating point in [0, 1], on any device. Values
            are not checked for NaN, which would make the host wait for the device.
        fill: intensity in [0, 1] outside the image, before brightness, contrast and gamma.
        largest_blur_sigma: upper bound of the views' blur in output pixels; 0 skips the blur.
        return_uint8: round to 0 to 255.

    Returns:
        Tensor ``(B, V, 1, h, w)`` on the device of ``images``: float32 in [0, 1], or uint8.

    Raises:
        TypeError, ValueError: ``images`` are of another type of number; a wrong shape, as of :func:`warp_batch`.
    """
    array = _view_array(images, views, "images")
    if images.dtype not in _FULL_RANGE and not images.is_floating_point():
        raise TypeError(f"The images are of type {images.dtype}; expected uint8, uint16, or floating point in [0, 1].")
    with torch.autocast(images.device.type, enabled=False):
        pixels = images.to(torch.float32) / _FULL_RANGE.get(images.dtype, 1.0)
        # Two copies of the whole batch less where nothing is filled in.
        warped = warp_batch(pixels - fill if fill else pixels, array, size, shapes=shapes)
        warped = warped + fill if fill else warped
        brightness, contrast, gamma = (column[..., None, None, None] for column in array[..., 6:9].unbind(-1))
        rendered = contrast * (brightness * warped.clamp(min=0) ** gamma - 0.5) + 0.5
        rendered = rendered.clamp(0, 1)
        if largest_blur_sigma > 0:
            rendered = _blur(rendered.flatten(0, 2), array[..., 9].flatten(), largest_blur_sigma).view_as(rendered)
        if return_uint8:
            rendered = (rendered * 255).round().to(torch.uint8)
    return rendered
