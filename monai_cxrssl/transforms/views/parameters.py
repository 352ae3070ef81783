# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random parameters of an augmented view.

A view is drawn first and rendered later by a deterministic twin (:mod:`~monai_cxrssl.transforms.views.cpu`,
:mod:`~monai_cxrssl.transforms.views.batch`), so that it can be replayed, applied to a mask, or rendered on another
device.

Geometry, shared by both twins. Coordinates are continuous: the image covers ``[0, W] x [0, H]``, pixel ``i`` has its
centre at ``i + 0.5``. Output pixel ``(u, v)`` of an ``(h, w)`` view looks at the point::

    dx = ((u + 0.5) / w - 0.5) * width * W * (-1 if flip else 1)
    dy = ((v + 0.5) / h - 0.5) * height * H
    x  = center_x * W + cos(angle) * dx - sin(angle) * dy
    y  = center_y * H + sin(angle) * dx + cos(angle) * dy

Intensity, with ``x`` in [0, 1]: ``y = clip(contrast * (brightness * x ** gamma - 0.5) + 0.5, 0, 1)``. It holds no
image mean, so that it is a table of 256 or 65,536 entries whatever the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["ViewParameters", "ViewSampler", "VIEW_FIELDS", "stack_views", "keyed_generator", "reduction_thresholds"]


# Bilinear sampling starts to alias where one output pixel spans about two input pixels. On 512-px chest X-rays an area
# reduction by two gives the higher PSNR from a step of 1.8 on, and a reduction by four from 3.6 on.
_REDUCE_FROM = 1.75


@dataclass(frozen=True)
class ViewParameters:
    """All parameters of one view. The defaults are the whole image, unchanged.

    Lengths are fractions of the source's height and width, so the same view can be rendered from the full-size image,
    from its small cached copy or from its mask.

    Args:
        center_y, center_x: centre of the crop.
        height, width: sides of the crop, before it is turned.
        angle: degrees by which the picture is turned counter-clockwise, about the centre of the crop.
        flip: mirror left and right, after turning.
        brightness, contrast: factors on the intensity, > 0, and on the distance from mid-grey (0.5).
        gamma: exponent, > 0; below 1 brightens the dark part.
        blur_sigma: standard deviation of a Gaussian blur in output pixels; 0 = no blur.
    """

    center_y: float = 0.5
    center_x: float = 0.5
    height: float = 1.0
    width: float = 1.0
    angle: float = 0.0
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    blur_sigma: float = 0.0

    def values(self) -> tuple[float, ...]:
        """The parameters in the order of ``VIEW_FIELDS``."""
        return tuple(float(getattr(self, name)) for name in VIEW_FIELDS)


VIEW_FIELDS = tuple(field.name for field in fields(ViewParameters))


def stack_views(views: Any) -> torch.Tensor:
    """Turn views into the array that the batched twin takes, and that goes through a data loader's collation as it is.

    One :class:`ViewParameters`, a sequence of B of them, or B sequences of V give a float32 tensor ``(10,)``,
    ``(B, 10)`` or ``(B, V, 10)``, the last axis in the order of ``VIEW_FIELDS``.
    """

    def rows(item: Any) -> Any:
        return item.values() if isinstance(item, ViewParameters) else [rows(part) for part in item]

    return torch.tensor(rows(views), dtype=torch.float32)


def keyed_generator(seed: int, epoch: int, index: int, view: int) -> np.random.Generator:
    """The random generator of one view: the same four integers in ``[0, 2**32)`` give the same draws in any process.
    Others are a ConfigurationError: two keys could then share a generator."""
    key = (int(seed), int(epoch), int(index), int(view))
    if min(key) < 0 or max(key) >= 2**32:
        raise ConfigurationError(
            f"The random key (seed, epoch, index, view) is {key}; each number must be in 0 to 2**32 - 1."
        )
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def reduction_thresholds(source: tuple[int, int], size: tuple[int, int]) -> list[float]:
    """Steps (source pixels per output pixel) from which a view is made from a 2, 4, 8 ... times smaller source.

    ``source`` and ``size`` are height and width; the list covers all views that lie within the source.
    """
    largest = math.sqrt(source[0] * source[1] / (size[0] * size[1]))
    thresholds: list[float] = []
    while _REDUCE_FROM * 2 ** len(thresholds) <= largest:
        thresholds.append(_REDUCE_FROM * 2 ** len(thresholds))
    return thresholds


def _interval(name: str, value: Sequence[float], low: float, high: float, above: bool = False) -> tuple[float, float]:
    try:
        first, last = (float(number) for number in value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name} is {value!r}; give two numbers, the smallest and the largest.") from None
    if not (low <= first <= last <= high) or (above and first == low) or not math.isfinite(last):
        limits = f"above {low:g}" if above else f"at least {low:g}"
        limits += "" if math.isinf(high) else f" and at most {high:g}"
        raise ConfigurationError(f"{name} is {value!r}; give two numbers in rising order, {limits}.")
    return first, last


def _probability(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ConfigurationError(f"{name} is {value!r}; give a probability between 0 and 1.")
    return float(value)


class ViewSampler:
    """Draw :class:`ViewParameters` from given ranges; see :class:`~monai_cxrssl.transforms.MultiView` for each option,
    and its errors. A view always takes the same number of draws, so switching one option on or off leaves the others as
    they were."""

    def __init__(
        self,
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        rotation: float = 45.0,
        rotation_prob: float = 1.0,
        flip_prob: float = 0.5,
        brightness: Sequence[float] = (0.6, 1.4),
        contrast: Sequence[float] = (0.6, 1.4),
        gamma: Sequence[float] = (0.8, 1.25),
        jitter_prob: float = 0.8,
        blur_prob: float = 0.0,
        blur_sigma: Sequence[float] = (0.1, 2.0),
    ) -> None:
        self.scale = _interval("scale", scale, 0.0, 1.0, above=True)
        self.ratio = _interval("ratio", ratio, 0.0, math.inf, above=True)
        self.rotation = float(rotation)
        if not 0.0 <= self.rotation <= 180.0:
            raise ConfigurationError(f"rotation is {rotation!r}; give the largest angle in degrees, 0 to 180.")
        self.rotation_prob = _probability("rotation_prob", rotation_prob)
        self.flip_prob = _probability("flip_prob", flip_prob)
        self.brightness = _interval("brightness", brightness, 0.0, math.inf, above=True)
        self.contrast = _interval("contrast", contrast, 0.0, math.inf)
        self.gamma = _interval("gamma", gamma, 0.0, math.inf, above=True)
        self.jitter_prob = _probability("jitter_prob", jitter_prob)
        self.blur_prob = _probability("blur_prob", blur_prob)
        self.blur_sigma = _interval("blur_sigma", blur_sigma, 0.0, math.inf, above=True)

    @property
    def largest_blur_sigma(self) -> float:
        """The strongest blur that can be drawn, in output pixels; 0 where blur is off."""
        return self.blur_sigma[1] if self.blur_prob > 0 else 0.0

    def sample(
        self, spatial_shape: tuple[int, int], random: np.random.Generator | np.random.RandomState
    ) -> ViewParameters:
        """Draw one view of an image of ``spatial_shape`` = (height, width) in pixels."""
        draw = random.random(13).tolist()
        height, width = self._crop_sides(spatial_shape, draw[0], draw[1])
        turned = draw[4] < self.rotation_prob
        jittered = draw[7] < self.jitter_prob
        blurred = draw[11] < self.blur_prob
        return ViewParameters(
            center_y=height / 2 + draw[2] * (1 - height),
            center_x=width / 2 + draw[3] * (1 - width),
            height=height,
            width=width,
            angle=self.rotation * (2 * draw[5] - 1) if turned else 0.0,
            flip=draw[6] < self.flip_prob,
            brightness=_uniform(self.brightness, draw[8]) if jittered else 1.0,
            contrast=_uniform(self.contrast, draw[9]) if jittered else 1.0,
            gamma=_log_uniform(self.gamma, draw[10]) if jittered else 1.0,
            blur_sigma=_uniform(self.blur_sigma, draw[12]) if blurred else 0.0,
        )

    def _crop_sides(self, spatial_shape: tuple[int, int], area_draw: float, ratio_draw: float) -> tuple[float, float]:
        rows, columns = spatial_shape
        area = _uniform(self.scale, area_draw)
        # Only these ratios of width to height let a crop of this area fit into the image.
        narrowest, widest = area * columns / rows, columns / (area * rows)
        low, high = max(self.ratio[0], narrowest), min(self.ratio[1], widest)
        if low > high:
            # An image much longer than wide: no allowed ratio fits, so the ratio is kept and the crop made smaller.
            low = high = self.ratio[0] if self.ratio[0] > widest else self.ratio[1]
        ratio = _log_uniform((low, high), ratio_draw)
        height = math.sqrt(area * columns / (rows * ratio))
        width = math.sqrt(area * rows * ratio / columns)
        shrink = max(height, width, 1.0)
        return height / shrink, width / shrink


def _uniform(interval: tuple[float, float], draw: float) -> float:
    return interval[0] + draw * (interval[1] - interval[0])


def _log_uniform(interval: tuple[float, float], draw: float) -> float:
    return interval[0] * (interval[1] / interval[0]) ** draw
