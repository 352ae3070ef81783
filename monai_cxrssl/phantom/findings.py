# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings of a phantom study in four classes.

The classes are those of COVID-19 chest X-ray reading (RSNA consensus wording): negative; typical = bilateral,
peripheral, multifocal rounded ground glass; indeterminate = haze without that distribution (perihilar or diffuse);
atypical = one-sided and focal (lobar consolidation, nodule or mass, effusion).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from monai_cxrssl.phantom.anatomy import ThoraxAnatomy, stream
from monai_cxrssl.phantom.canvas import Canvas, fractal_noise
from monai_cxrssl.phantom.thickness import ThicknessMaps

__all__ = ["CLASSES", "Opacity", "sample_findings", "project_findings"]

CLASSES: tuple[str, ...] = ("negative", "typical", "indeterminate", "atypical")


@dataclass(frozen=True)
class Opacity:
    """One region of lung in which air is partly replaced.

    Args:
        kind: "ground_glass", "haze", "consolidation", "nodule" or "effusion".
        side, density: -1 right, +1 left; fraction of the air that is replaced, 0..1.
        centre: x, y, z in cm; for an effusion, y is the height of its level.
        radii: half axes in x, y, z, cm; for an effusion, z is the depth of the fluid.
        seed: drives its irregular border.
        fissure: None, or (height in cm, keep): a flat border; keep -1 = only above it, +1 = only below.
    """

    kind: str
    side: int
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    density: float
    seed: int
    fissure: tuple[float, int] | None = None


def _peripheral(a: ThoraxAnatomy, rng: np.random.Generator) -> list[Opacity]:
    found = []
    for side in (-1, 1):
        heights = np.linspace(-3.5, 9.0, int(rng.integers(2, 5))) + rng.uniform(-1.2, 1.2)
        for y0 in heights:
            y = float(np.clip(y0 + rng.normal(0, 0.7), -6, 9.5)) * a.height
            r = rng.uniform(1.7, 2.8)
            x = side * (abs(a.lateral_wall(y, side)) - rng.uniform(0.55, 0.95) * r)
            radii = (r * rng.uniform(0.8, 1.05), r * rng.uniform(0.9, 1.3), r * rng.uniform(1.0, 1.5))
            z = float(rng.uniform(-3, 5.5))
            density, seed = rng.uniform(0.55, 0.8), int(rng.integers(1 << 31))
            found.append(Opacity("ground_glass", side, (x, y, z), radii, density, seed))
    return found


def _without_distribution(a: ThoraxAnatomy, rng: np.random.Generator) -> list[Opacity]:
    found = []
    diffuse = rng.random() < 0.35
    for side in (-1, 1):
        seed = int(rng.integers(1 << 31))
        hilum = (side * 5.2 * a.width, -0.6 * a.height + rng.normal(0, 0.6), 0.8)
        if diffuse:
            middle = (side * 7.0 * a.width, 0.5 * a.height, 0.5)
            found.append(Opacity("haze", side, middle, (6.5, 11.0, 4.4), rng.uniform(0.36, 0.5), seed))
        else:
            size = rng.uniform(0.85, 1.15)
            radii = (4.2 * size, 5.6 * size, 3.4 * size)
            found.append(Opacity("haze", side, hilum, radii, rng.uniform(0.5, 0.68), seed))
    return found


def _focal(a: ThoraxAnatomy, rng: np.random.Generator) -> list[Opacity]:
    side = int(rng.choice([-1, 1]))
    kind = str(rng.choice(["consolidation", "nodule", "effusion"], p=[0.45, 0.27, 0.28]))
    seed = int(rng.integers(1 << 31))
    if kind == "nodule":
        r = rng.uniform(1.5, 2.5)
        y = rng.uniform(-7.5, 5.0) * a.height
        x = side * (0.30 + 0.45 * rng.random()) * abs(a.lateral_wall(y, side)) + side * 1.6
        return [Opacity(kind, side, (x, y, rng.uniform(-3, 5)), (r, r * rng.uniform(0.9, 1.1), r), 0.95, seed)]
    if kind == "effusion":
        level = rng.uniform(4.5, 8.5) * a.height
        return [Opacity(kind, side, (side * 9.0, level, 4.0), (8.0, 6.0, rng.uniform(11, 16)), 1.0, seed)]
    if rng.random() < 0.45:  # an upper lobe, flat on the horizontal fissure
        fissure = rng.uniform(-3.2, -1.6) * a.height
        centre = (side * 7.6 * a.width, fissure - 1.4, -1.5)
        return [Opacity(kind, side, centre, (4.6, 5.4, 3.6), rng.uniform(0.62, 0.85), seed, (fissure, -1))]
    fissure = rng.uniform(0.2, 2.5) * a.height
    centre = (side * 7.4 * a.width, fissure + 2.8, 3.2)
    return [Opacity(kind, side, centre, (4.6, 4.6, 3.6), rng.uniform(0.62, 0.85), seed, (fissure, 1))]


def sample_findings(label: int, anatomy: ThoraxAnatomy, seed: int) -> tuple[Opacity, ...]:
    """Draw the opacities of a study of class ``label`` (index into :data:`CLASSES`)."""
    rng = stream(seed, 20)
    draw = {1: _peripheral, 2: _without_distribution, 3: _focal}.get(label)
    return () if draw is None else tuple(draw(anatomy, rng))


def _thickness(o: Opacity, a: ThoraxAnatomy, c: Canvas, lateral: bool) -> np.ndarray:
    """Path length in cm through one opacity, before it is confined to the lung."""
    h, y = c.grid(1.0)
    across = 2 if lateral else 0
    along = 2 * o.radii[0 if lateral else 2]
    rough = c.texture(fractal_noise(stream(o.seed, 21), (150, 140), (2, 4, 7, 14)), 0.35)
    if o.kind == "effusion":
        if lateral:
            span = 9.6 * a.depth / 22
            climb = np.exp(-np.abs(h - span) / 2.0) + np.exp(-np.abs(h + 0.88 * span) / 2.0)
        else:
            climb = np.exp(-np.maximum(13.4 * a.width - o.side * h, 0) / 1.7)
        deep = np.maximum(y - (np.float32(o.centre[1]) - 4.2 * climb), 0)
        return np.float32(o.radii[2]) * (1 - np.exp(-deep / 1.3))
    r2 = ((h - o.centre[across]) / o.radii[across]) ** 2 + ((y - o.centre[1]) / o.radii[1]) ** 2
    if o.kind == "haze":
        return along * np.exp(-1.3 * r2) * np.clip(1 + 0.30 * rough, 0.3, 1.7)
    if o.kind == "nodule":
        return along * np.sqrt(np.maximum(1 - r2 * (1 + 0.06 * rough), 0))
    inside = np.maximum(1 - r2 * (1 + 0.34 * np.clip(rough, -1.6, 1.6)), 0)
    if o.kind == "ground_glass":
        return along * inside**1.1 * np.clip(0.95 + 0.25 * rough, 0.35, 1.5)
    t = along * inside**0.75 * np.clip(1 + 0.2 * rough, 0.5, 1.4)
    if o.fissure is not None:
        height, keep = o.fissure
        edge = np.float32(height) + (np.float32(0.45) * (h - o.centre[2]) if lateral else np.float32(0))
        t *= np.clip(0.5 + keep * (y - edge) / 0.8, 0, 1)
    return t


def project_findings(
    findings: tuple[Opacity, ...], anatomy: ThoraxAnatomy, canvas: Canvas, maps: ThicknessMaps, lateral: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Project all opacities of a study into one view: the air replaced along each ray, ``(H, W)`` float32 in cm, and
    the opacity mask, ``(H, W)`` bool."""
    replaced = np.zeros(canvas.shape, np.float32)
    mask = np.zeros(canvas.shape, bool)
    for o in findings:
        # Both lungs lie on the ray of a lateral view, but the finding has only its own side's air to replace.
        room = maps.lung * 0.5 if lateral else np.where(maps.side == o.side, maps.lung, 0)
        t = np.minimum(_thickness(o, anatomy, canvas, lateral), 0.95 * room) * np.float32(o.density)
        replaced += t
        peak = float(t.max())
        if peak > 0:
            # Nobody outlines every wisp: the mask follows the opacity at a scale of some millimetres.
            mask |= cv2.GaussianBlur(t, (0, 0), 0.3 * canvas.px) > max(0.3 * peak, 0.15)
    return np.minimum(replaced, 0.97 * maps.lung).astype(np.float32), mask & maps.cage
