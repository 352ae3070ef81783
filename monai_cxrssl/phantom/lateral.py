# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lateral view of a phantom as tissue thickness."""

from __future__ import annotations

import math

import cv2
import numpy as np

from monai_cxrssl.phantom.anatomy import ThoraxAnatomy
from monai_cxrssl.phantom.canvas import Canvas, moved, rounded_thickness, smooth_closed, smooth_open
from monai_cxrssl.phantom.thickness import CORTEX_PROFILE, SHELL_PROFILE, TUBE_PROFILE, ThicknessMaps

__all__ = ["lateral_thickness"]

# Control points (z, y) of the standard chest, 22 cm deep; the front is negative.
_LUNG = [(0.2, -13.2), (-2.6, -11.6), (-5.6, -8.0), (-7.7, -3.5), (-8.7, 1.0), (-9.1, 6.0), (-9.0, 9.8), (-7.0, 12.4)]
_LUNG += [(-1.0, 13.0), (5.0, 14.6), (9.2, 15.6), (10.1, 13.0), (10.2, 6.0), (9.9, 0.0), (8.7, -5.5), (6.0, -10.2)]
_LUNG += [(3.0, -12.7)]
_DOME = [(-11.0, 10.6), (-9.2, 9.6), (-6.5, 8.2), (-3.2, 7.8), (0.4, 8.7), (4.2, 10.8), (7.6, 13.2)]
_DOME += [(9.9, 15.3), (13, 18)]


def _place(a: ThoraxAnatomy, points: list[tuple[float, float]] | np.ndarray) -> np.ndarray:
    return np.array(points, dtype=np.float64) * [a.depth / 22, a.height]


def _skeleton(a: ThoraxAnatomy, c: Canvas) -> np.ndarray:
    """Bone surplus of vertebrae, ribs of both sides, sternum and shoulder blades."""
    bone = np.zeros(c.shape, np.float32)
    bodies, arches = c.blank(), c.blank()
    for y, w, h in a.vertebrae:
        z = float(a.spine_z(y))
        lean = math.atan(float(a.spine_z(y + 1) - a.spine_z(y - 1)) / 2)
        turn = np.array([[math.cos(lean), -math.sin(lean)], [math.sin(lean), math.cos(lean)]])
        hw, hh = 0.46 * w, h / 2
        block = np.array([(-hw, -hh), (0, -hh * 0.92), (hw, -hh), (hw * 0.9, 0), (hw, hh), (0, hh * 0.92), (-hw, hh)])
        block = np.concatenate([block, [(-hw * 0.9, 0)]])
        c.fill(block @ turn + [z, y], grey=235, layer=bodies)
        c.fill(block * 0.86 @ turn + [z, y], grey=165, layer=bodies)
        arch = smooth_closed(
            [(hw, -0.75), (hw + 1.6, -0.9), (hw + 4.4, 1.2), (hw + 4.2, 1.9), (hw + 1.8, 0.9), (hw, 0.3)], 4
        )
        c.fill(arch @ turn + [z, y], grey=170, layer=arches)
    bone += bodies.astype(np.float32) * np.float32(1.9 / 255) + arches.astype(np.float32) * np.float32(1.1 / 255)
    for side in (-1, 1):
        curves: list[tuple[np.ndarray, np.ndarray | float]] = []
        for s, angle, p in a.ribs:
            if s != side:
                continue
            # The side away from the detector is magnified a little, so the two sides never coincide.
            line = np.stack([p[:, 2] * (1.0 + 0.02 * side) + 0.8, p[:, 1] + 0.35 * side], 1)
            face_on = np.abs(np.sin(np.radians(angle)))
            curves.append((line, a.rib_width * (0.6 + 0.4 * face_on)))
        bone += c.ribbons(curves, CORTEX_PROFILE, follow=0.3) * np.float32(0.42)
    plate = smooth_open(_place(a, [(-5.9, -9.6), (-7.6, -6.6), (-9.3, -2.0), (-10.1, 3.0), (-10.2, 6.4)]))
    bone += c.ribbons([(plate, 1.15)], SHELL_PROFILE) * np.float32(1.2)
    for shift in (0.0, 1.3):
        blade = smooth_open(_place(a, [(4.6 + shift, -13), (7.4 + shift, -9), (9.4 + shift, -4), (9.9 + shift, 0.5)]))
        bone += c.ribbons([(blade, 0.55)], TUBE_PROFILE) * np.float32(0.9)
    humerus = smooth_open([(1.0, -12.5), (-2.0, -16.5), (-6.0, -22.0), (-9.0, -27.0)])
    for shift in (0.0, 2.0):
        bone += c.ribbons([(moved(humerus, shift, 0), 2.3)], SHELL_PROFILE) * np.float32(1.0)
    return bone * np.float32(a.bone_density)


def lateral_thickness(a: ThoraxAnatomy, c: Canvas) -> ThicknessMaps:
    """Tissue thickness of a left lateral view with both lungs on top of each other and the arms raised."""
    half = 13.9 * a.width + a.wall
    front = -11 * a.depth / 22 - 0.5 * a.wall
    back = 12.2 * a.depth / 22 + 0.6 * a.wall
    bust = -1.3 * a.breast
    outline = [(-4.4, -27), (-4.2, -19), (-4.5, -15), (front + 3.0, -10.5), (front + 0.5 + 0.3 * bust, -4)]
    outline += [(front + bust, 2.0), (front + 0.8 * bust, 5.5), (front - 0.3, 9.5), (front - 0.6, 15), (front - 1, 30)]
    outline += [(back - 1.5, 30), (back - 1.8, 16), (back, 4), (back, -4), (back - 1.4, -11), (7.5, -17), (6.2, -27)]
    _, y = c.grid(0)
    wide, inner = c.padded(6.0)
    body = rounded_thickness(wide.fill(smooth_closed(outline)), 2 * half, 8.0 * c.px)[inner]
    body = body * np.interp(y, [-22, -16, -10, -4, 25], [0.42, 0.62, 0.85, 0.98, 1.0]).astype(np.float32)
    arms = c.ribbons([(smooth_open([(0.5, -11.0), (-4.0, -17), (-9.0, -28.0)]), 9.5)], TUBE_PROFILE)
    body = np.maximum(body, cv2.GaussianBlur(arms, (0, 0), 0.3 * c.px) * np.float32(17.0))
    _, y = c.grid(1.0)
    whole = c.fill(smooth_closed(_place(a, _LUNG)), follow=1)
    inside = whole > 127
    lung = np.zeros(c.shape, np.float32)
    field = np.zeros(c.shape, bool)
    for side in (-1, 1):
        dome = _place(a, _DOME)
        dome[1:-2, 1] -= (a.dome_left if side > 0 else a.dome_right) + (-0.7 if side > 0 else 0.3)
        line = smooth_open(dome)
        below = c.fill(np.concatenate([line, [[14.0, 40.0], [-14.0, 40.0]]]), follow=1)
        t = rounded_thickness(whole, 9.0 * a.width, 4.2 * c.px)
        lung += np.maximum(t - rounded_thickness(below, 11.0 * a.width, 2.4 * c.px), 0)
        field |= inside & (below <= 127)
    lung *= np.interp(y, [-14, -10, -3, 3], [0.42, 0.7, 1.0, 1.05]).astype(np.float32)
    h = a.heart
    heart = [(-8.6, 1.0), (-6.8, -2.4), (-4.0, -3.8), (-1.2, -2.2), (0.9, 1.6), (1.8, 5.4), (1.2, 8.4), (-1.8, 10.4)]
    heart_outline = smooth_closed((np.array([*heart, (-6.4, 10.6), (-9.0, 9.2), (-9.5, 5.0)]) - [-9, 5]) * h + [-9, 5])
    solid = rounded_thickness(c.fill(heart_outline * [a.depth / 22, a.height], follow=1), 9.5 * h, 4.6 * c.px)
    arch = smooth_open(
        _place(a, [(-3.4, -2.2), (-3.4, -5.6), (-1.2, -7.6), (2.4, -7.2), (4.6, -4.4), (6.2, 1.0), (6.6, 10)])
    )
    solid += c.ribbons([(arch, 2.0 + 0.4 * a.knob)], TUBE_PROFILE, follow=0.5) * np.float32(1.9)
    upper = smooth_closed(_place(a, [(-5.6, -9.5), (-3.0, -13.8), (3.6, -13.6), (3.2, -6), (0.8, -3.0), (-4.0, -3.4)]))
    solid += rounded_thickness(c.fill(upper, follow=0.5), 4.2, 3.0 * c.px)
    lung = np.maximum(lung - solid, 0)
    starts, ends, radii, _ = a.vessel_segments
    swap = [2, 1, 0]  # seen from the side, depth becomes the horizontal
    offset = np.array([0.2, 0.0, 0.0])
    vessels = c.tubes(starts[:, swap] + offset, ends[:, swap] + offset, radii)
    vessels = cv2.GaussianBlur(vessels, (0, 0), 0.045 * c.px) * np.float32(2.4)
    z, _ = c.grid(1.0)
    vessels += np.float32(3.2) * np.exp(-(((z - 0.2) / 1.5) ** 2) - ((y + 1.2) / 1.9) ** 2)
    lung = np.maximum(lung - np.minimum(vessels, 0.8 * lung), 0)
    lung *= 1 - np.float32(0.025) * c.texture(a.lung_texture, 0.2)
    wind = smooth_open(_place(a, [(-1.6, -24), (-1.0, -17), (0.4, -11.5), (1.5, -6), (1.9, -3.6)]))
    air = c.ribbons([(wind, 1.7)], TUBE_PROFILE, follow=0.3) * np.float32(2.4)
    t = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    for zc, yc, r in ((1.9, -3.0, 0.62), (2.0, -0.4, 0.5)):  # upper lobe bronchi end-on
        ring = np.stack([zc + r * np.cos(t), yc + r * np.sin(t)], 1) * [a.depth / 22, a.height]
        air += rounded_thickness(c.fill(ring, follow=0.6), 2.4, 0.5 * c.px)
    if a.stomach:
        r = a.stomach
        bubble = np.array([(-1.4, 0.8), (-1.2, -0.4), (0, -0.9), (1.3, -0.3), (1.5, 0.8)])
        gas = smooth_closed(bubble * r + [-3.4, 10.6 + r])
        air += rounded_thickness(c.fill(gas, follow=1), 2.2 * r, 1.1 * r * c.px)
    soft = np.maximum(body - lung - air, 0)
    bone = _skeleton(a, c) * (body > 0.3)
    return ThicknessMaps(soft, lung, bone, lung_field=field, cage=inside, side=np.zeros(c.shape, np.int8))
