# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Detector plane with anti-aliased outlines and textures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

__all__ = ["Canvas", "Pose", "moved", "smooth_closed", "smooth_open", "fractal_noise", "rounded_thickness"]

_SHIFT = 4  # OpenCV fixed point: 1/16 pixel
_PIVOT_Y = -8.0  # above the carina breathing moves nothing


def _catmull_rom(points: np.ndarray, samples: int) -> np.ndarray:
    """Points ``(N + 2, 2)`` with one extra control point at each end, ``samples`` points per inner segment."""
    p0, p1, p2, p3 = points[:-3], points[1:-2], points[2:-1], points[3:]
    t = (np.arange(samples) / samples)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return curve.reshape(-1, points.shape[1])


def smooth_closed(points: Sequence[Any] | np.ndarray, samples: int = 8) -> np.ndarray:
    """A closed Catmull-Rom outline ``(N * samples, 2)`` through the control points ``(N, 2)``."""
    p = np.asarray(points, dtype=np.float64)
    return _catmull_rom(np.concatenate([p[-1:], p, p[:2]]), samples)


def smooth_open(points: Sequence[Any] | np.ndarray, samples: int = 8) -> np.ndarray:
    """An open Catmull-Rom curve through the control points ``(N, D)``, both ends included."""
    p = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    return np.concatenate([_catmull_rom(padded, samples), p[-1:]])


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    """Points ``(N, 2)`` or ``(2,)`` shifted by (x, y)."""
    return np.asarray(points) + np.array((x, y))


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], scales: Sequence[int]) -> np.ndarray:
    """Smooth noise ``shape`` float32 of zero mean and unit variance, a sum of octaves of cell size ``scales``."""
    total = np.zeros(shape, np.float32)
    for scale in scales:
        cells = (max(2, -(-shape[0] // scale)), max(2, -(-shape[1] // scale)))
        coarse = rng.standard_normal(cells, dtype=np.float32)
        total += cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def rounded_thickness(inside: np.ndarray, peak: float, radius: float) -> np.ndarray:
    """Thickness of a body whose cross-section along the beam is a rounded slab: ``(H, W)`` float32 in cm.

    It is ``peak * sqrt(1 - (1 - d / radius)^2)`` of the distance ``d`` to the edge: ``inside`` is ``(H, W)`` uint8,
    coverage 0..255, ``peak`` the thickness in cm away from the edge, ``radius`` the distance in pixels at which it is
    reached.
    """
    distance = cv2.distanceTransform((inside > 127).astype(np.uint8), cv2.DIST_L2, 5)
    depth = 1.0 - np.minimum(distance / np.float32(max(radius, 1.0)), 1.0)
    thickness = np.sqrt(np.maximum(1.0 - depth * depth, 0.0)) * np.float32(peak)
    # The distance map counts whole pixels; a slight blur gives the outline its sub-pixel edge back.
    return cv2.GaussianBlur(thickness, (0, 0), 0.8)


@dataclass(frozen=True)
class Pose:
    """How the patient stands before the detector in one exposure.

    Args:
        rotation: roll in the image plane, degrees.
        yaw: turn about the long axis, degrees; it shifts front and back structures against each other.
        shift_x, shift_y, scale: offset to the viewer's right and downwards, cm; magnification.
        inspiration: 1 = full breath; 0.85 = diaphragm 15 % of the lung height higher.
    """

    rotation: float = 0.0
    yaw: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    inspiration: float = 1.0


@dataclass
class Canvas:
    """Draws outlines given in patient centimetres onto an ``height x width`` pixel grid: x to the viewer's right, y
    towards the feet, z (depth) away from the detector's viewer, origin in the middle of the chest."""

    height: int
    width: int
    pixels_per_cm: float
    pose: Pose = field(default_factory=Pose)
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        p = self.pose
        scale = self.pixels_per_cm * p.scale
        c, s = math.cos(math.radians(p.rotation)) * scale, math.sin(math.radians(p.rotation)) * scale
        cx, cy = self.centre[0] - p.shift_x, self.centre[1] - p.shift_y
        ox, oy = (self.width - 1) / 2, (self.height - 1) / 2
        self.matrix = np.array([[c, -s, ox - c * cx + s * cy], [s, c, oy - s * cx - c * cy]])
        self.px = scale

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def padded(self, margin_cm: float) -> tuple[Canvas, tuple[slice, slice]]:
        """The same plane with a margin around it, and the slices that cut this canvas out of it again."""
        m = math.ceil(margin_cm * self.px)
        larger = Canvas(self.height + 2 * m, self.width + 2 * m, self.pixels_per_cm, self.pose, self.centre)
        return larger, (slice(m, m + self.height), slice(m, m + self.width))

    def breathe(self, y: np.ndarray, follow: float) -> np.ndarray:
        """Height ``y`` after the breath of this pose; ``follow`` 1 = moves with the diaphragm, 0 = fixed."""
        factor = 1.0 - (1.0 - self.pose.inspiration) * follow
        return np.where(y > _PIVOT_Y, _PIVOT_Y + (y - _PIVOT_Y) * factor, y)

    def to_pixels(self, points: np.ndarray, depth: float | np.ndarray | None = None, follow: float = 0.0) -> np.ndarray:
        """Patient points ``(N, 2)`` in cm, at ``depth`` ``(N,)`` cm, to pixel coordinates ``(N, 2)`` (x, y)."""
        p = np.array(points, dtype=np.float64)
        if follow:
            p[:, 1] = self.breathe(p[:, 1], follow)
        if depth is not None:
            p[:, 0] += np.asarray(depth) * math.tan(math.radians(self.pose.yaw))
        return p @ self.matrix[:, :2].T + self.matrix[:, 2]

    def grid(self, follow: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Patient x and y of every pixel, ``(H, W)`` float32 each: the inverse of :meth:`to_pixels` at depth 0."""
        inverse = cv2.invertAffineTransform(self.matrix)
        col = np.arange(self.width, dtype=np.float32)[None, :]
        row = np.arange(self.height, dtype=np.float32)[:, None]
        x = np.float32(inverse[0, 0]) * col + np.float32(inverse[0, 1]) * row + np.float32(inverse[0, 2])
        y = np.float32(inverse[1, 0]) * col + np.float32(inverse[1, 1]) * row + np.float32(inverse[1, 2])
        factor = np.float32(1.0 - (1.0 - self.pose.inspiration) * follow)
        return x, np.where(y > _PIVOT_Y, _PIVOT_Y + (y - _PIVOT_Y) / factor, y)

    def blank(self) -> np.ndarray:
        """An empty ``(H, W)`` uint8 layer."""
        return np.zeros(self.shape, np.uint8)

    @staticmethod
    def _fixed(pixels: np.ndarray) -> np.ndarray:
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def fill(
        self,
        outline: np.ndarray,
        depth: float | None = None,
        follow: float = 0.0,
        grey: int = 255,
        layer: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fill a closed outline ``(N, 2)`` in cm, anti-aliased; returns the uint8 layer it was drawn on."""
        layer = self.blank() if layer is None else layer
        cv2.fillPoly(layer, [self._fixed(self.to_pixels(outline, depth, follow))], grey, cv2.LINE_AA, _SHIFT)
        return layer

    def ribbons(
        self,
        curves: Sequence[tuple[np.ndarray, np.ndarray | float]],
        profile: Sequence[tuple[float, float]],
        depths: Sequence[np.ndarray | float | None] | None = None,
        follow: float = 0.0,
    ) -> np.ndarray:
        """Draw bands along curves, shaded across by ``profile``: ``(H, W)`` float32, the shade at each pixel.

        Bands of one call do not add up where they cross.

        Args:
            curves: pairs of a centre line ``(N, 2)`` in cm and its width in cm (number or ``(N,)``).
            profile: pairs of (fraction of the half-width, shade 0..1), outermost first: nested bands.
            depths, follow: depth of each curve (for yaw), cm; how far the curves move with the breath.
        """
        layer = self.blank()
        lines = []
        for k, (curve, width) in enumerate(curves):
            pixels = self.to_pixels(curve, None if depths is None else depths[k], follow)
            tangent = np.gradient(pixels, axis=0)
            normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
            normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
            half = np.broadcast_to(np.asarray(width, np.float64) * self.px / 2, (len(pixels),))[:, None]
            lines.append((pixels, normal * half))
        for fraction, shade in profile:
            for pixels, offset in lines:
                band = np.concatenate([pixels + fraction * offset, (pixels - fraction * offset)[::-1]])
                cv2.fillPoly(layer, [self._fixed(band)], round(255 * shade), cv2.LINE_AA, _SHIFT)
        return layer.astype(np.float32) / 255

    def tubes(self, starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, follow: float = 1.0) -> np.ndarray:
        """Chord length, ``(H, W)`` float32 in cm, of round tubes (vessels).

        ``starts`` and ``ends`` are ``(N, 3)`` x, y, z and ``radii`` ``(N,)``, in cm; ``follow``: how far they move with
        the breath.
        """
        a = self._fixed(self.to_pixels(starts[:, :2], starts[:, 2], follow))
        b = self._fixed(self.to_pixels(ends[:, :2], ends[:, 2], follow))
        segments = np.stack([a, b], 1)
        top = float(2 * radii.max())
        layer = self.blank()
        order = np.argsort(radii, kind="stable")  # thin first, so that thick ones stay on top
        groups = np.array_split(order, min(18, len(order)))
        for fraction in (1.0, 0.72, 0.4):
            for chosen in groups:
                radius = float(radii[chosen].mean())
                width = 2 * radius * self.px
                if width < 2.5 and fraction < 1:
                    continue
                line = max(1, round(width * fraction))
                chord = math.sqrt(1 - (fraction * 0.88) ** 2) if width >= 2.5 else 0.79 * min(1.0, width / line)
                grey = min(255, round(255 * chord * 2 * radius / top))
                cv2.polylines(layer, list(segments[chosen]), False, grey, line, cv2.LINE_AA, _SHIFT)
        return layer.astype(np.float32) * np.float32(top / 255)

    def texture(self, field_: np.ndarray, cm_per_cell: float, follow: float = 1.0) -> np.ndarray:
        """Sample a field fixed to the patient (cell (0, 0) at its upper left, centred on the chest) at each pixel."""
        x, y = self.grid(follow)
        rows, cols = field_.shape
        map_x = x * np.float32(1 / cm_per_cell) + np.float32(cols / 2)
        map_y = y * np.float32(1 / cm_per_cell) + np.float32(rows / 2)
        return cv2.remap(field_, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
