# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Frontal view of a phantom as tissue thickness."""

from __future__ import annotations

import math

import cv2
import numpy as np

from monai_cxrssl.phantom.anatomy import ThoraxAnatomy, stream
from monai_cxrssl.phantom.canvas import Canvas, moved, rounded_thickness, smooth_closed, smooth_open
from monai_cxrssl.phantom.thickness import CORTEX_PROFILE, SHELL_PROFILE, TUBE_PROFILE, ThicknessMaps

__all__ = ["frontal_thickness"]


def _both(points: np.ndarray) -> list[np.ndarray]:
    return [points * [-1, 1], points]


def _body(a: ThoraxAnatomy, c: Canvas, arms_out: float) -> np.ndarray:
    """Body without any cavity; ``arms_out`` 0 = arms along the body, 1 = turned well aside."""
    # Shoulders and arms leave the image; the distance to their skin needs the part outside of it.
    wide, inner = c.padded(6.0)
    w = 13.9 * a.width + a.wall
    half = [(5.2, -26), (5.3, -19.5), (6.6, -17.2), (11, -15.8), (15.5, -14.6), (18.5, -12.5), (18.6, -9)]
    half += [(w + 0.9, -5.0), (w + 0.3, 0), (w + 0.1, 8), (w - 0.2, 16), (w, 30)]
    left = np.array(half)
    left[4:7, 0] *= a.width
    torso = smooth_closed(np.concatenate([left, (left * [-1, 1])[::-1]]))
    thick = rounded_thickness(wide.fill(torso), a.depth, 9.5 * c.px)[inner]
    out = 1.0 + 4.0 * arms_out
    arm = [(15, -15), (19.5, -14.2), (22.5, -9.0), (w + 9 + out, 2.0), (w + 14 + 2 * out, 24), (w + 7 + 2 * out, 24)]
    arm += [(w + 3.6 + out, 9.0), (w + 1.2 + 0.5 * out, 1.0), (w + 0.2, -3.5), (w - 2.5, -7.0)]
    layer = wide.blank()
    for p in _both(smooth_closed(arm)):
        wide.fill(p, layer=layer)
    # Skin folds at the armpit are soft, not a crease.
    arms = rounded_thickness(layer, 0.30 * a.depth + 1.2 * a.wall, 4.6 * c.px)[inner]
    thick = cv2.GaussianBlur(np.maximum(thick, arms), (0, 0), 0.15 * c.px)
    _, y = c.grid(0)
    return thick * np.interp(y, [-22, -16, -9, -2, 25], [0.60, 0.66, 0.84, 1.0, 1.05]).astype(np.float32)


def _skeleton(a: ThoraxAnatomy, c: Canvas, ap: bool, arms_out: float) -> np.ndarray:
    """Bone surplus of ribs, spine, clavicles, scapulae, humeri and sternum."""
    x, y_film = c.grid(0)
    bone = np.zeros(c.shape, np.float32)
    for front in (False, True):  # two layers, because posterior and anterior arcs cross each other
        curves: list[tuple[np.ndarray, np.ndarray | float]] = []
        depths: list[np.ndarray | float | None] = []
        for _, angle, p in a.ribs:
            arc = angle > 84 if front else angle < 96
            if arc.sum() < 4:
                continue
            edge_on = np.abs(np.cos(np.radians(angle[arc])))
            width = a.rib_width * (0.62 + 0.38 * np.minimum(edge_on * 1.8, 1)) * (1.06 if front else 0.96)
            if not front:
                width = width * np.clip((angle[arc] - 2) / 18, 0.7, 1)
            curves.append((p[arc, :2], width))
            depths.append(p[arc, 2])
        layer = c.ribbons(curves, CORTEX_PROFILE, depths, follow=0.45 if front else 0.12)
        layer = cv2.GaussianBlur(layer, (0, 0), 0.05 * c.px)
        bone += layer * np.float32(0.42 if front else 0.62)
    # Near the side wall a rib is seen edge-on and the ray passes along it.
    bone *= 1 + np.float32(0.35) * np.clip((np.abs(x) / (13.9 * a.width) - 0.84) / 0.16, 0, 1)
    # The lowest ribs are short and thin; through the abdomen they hardly show.
    bone *= np.interp(y_film, [8.5 * a.height, 12.5 * a.height], [1.0, 0.5]).astype(np.float32)
    spine_layer, disc_layer = c.blank(), c.blank()
    for y, w, h in a.vertebrae:
        cx, z = float(a.spine_x(y)), float(a.spine_z(y))
        waist, hw, hh = 0.88, w / 2, h / 2
        body = [(-hw, -hh), (0, -hh * 0.93), (hw, -hh), (hw * waist, 0), (hw, hh), (0, hh * 0.93), (-hw, hh)]
        c.fill(moved(np.array([*body, (-hw * waist, 0)]), cx, y), depth=z, grey=175, layer=spine_layer)
        for s in (-1, 1):
            plate = np.array([(-hw, -0.09), (hw, -0.09), (hw, 0.09), (-hw, 0.09)])
            c.fill(moved(plate, cx, y + s * hh * 0.9), depth=z, grey=205, layer=spine_layer)
            t = np.linspace(0, 2 * math.pi, 16, endpoint=False)
            ring = np.stack([0.34 * np.cos(t), 0.5 * np.sin(t)], 1)
            c.fill(moved(ring, cx + s * hw * 0.62, y - 0.25 * hh), depth=z + 2, grey=255, layer=spine_layer)
            c.fill(moved(ring * 0.6, cx + s * hw * 0.62, y - 0.25 * hh), depth=z + 2, grey=200, layer=spine_layer)
            wing = [(s * hw * 0.5, -0.45), (s * (hw + 1.2), -0.55), (s * (hw + 1.3), 0.0), (s * hw * 0.5, 0.35)]
            c.fill(moved(np.array(wing), cx, y - 0.2), depth=z + 2.5, grey=120, layer=disc_layer)
        process = smooth_closed([(0, -0.9), (0.32, 0.2), (0.26, 1.0), (0, 1.3), (-0.26, 1.0), (-0.32, 0.2)], 4)
        c.fill(moved(process, cx, y + 0.5), depth=z + 4, grey=220, layer=disc_layer)
    bone += spine_layer.astype(np.float32) * np.float32(0.72 / 255)
    bone += disc_layer.astype(np.float32) * np.float32(0.5 / 255)
    lift = -1.4 if ap else 0.0
    tilt = math.tan(math.radians(a.clavicle_tilt))
    s_curve = np.array([(1.9, -9.6), (4.5, -10.4), (8.0, -12.0), (12.0, -13.6), (16.3, -13.3), (17.2, -13.0)])
    s_curve[:, 1] += lift - tilt * (s_curve[:, 0] - 2)
    s_curve[:, 0] *= a.width
    line = smooth_open(s_curve)
    girth = np.interp(np.linspace(0, 1, len(line)), [0, 0.05, 0.15, 0.4, 0.8, 1], [0.9, 1.7, 1.4, 1.0, 1.15, 1.3])
    bone += c.ribbons([(p, girth) for p in _both(line)], SHELL_PROFILE, [-6.0, -6.0]) * np.float32(1.05)
    aside = (-1.3 if ap else 1.9 + 0.8 * arms_out) * a.width
    blade = np.array([(11.2, -11.3), (14.6, -11.9), (16.4, -10.2), (15.6, -7.8), (14, -2), (12.6, 3.4), (11.6, 2.6)])
    blade = np.concatenate([blade, [(10.7, -3.0), (10.5, -8.0)]])
    rim = []
    for p in _both(blade):
        p = p + np.sign(p[:, :1]) * [aside, 0]
        outline = smooth_closed(p, 6)
        bone += c.fill(outline, depth=7).astype(np.float32) * np.float32(0.16 / 255)
        rim.append((np.concatenate([outline, outline[:1]]), 0.3))
    bone += c.ribbons(rim, ((1.0, 0.6), (0.5, 1.0)), [7.0, 7.0]) * np.float32(0.32)
    spine_of_blade = moved(smooth_open([(10.8, -8.6), (14.0, -10.8), (17.6, -13.6)]), aside * 0.9, 0)
    ridges = [(p, np.linspace(0.4, 0.9, len(p))) for p in _both(spine_of_blade)]
    bone += c.ribbons(ridges, CORTEX_PROFILE) * np.float32(0.4)
    head = np.array([18.4 * a.width + 0.4 * arms_out, -10.6])
    t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    ball = head + np.stack([2.35 * np.cos(t), 2.45 * np.sin(t)], 1)
    for p in _both(ball):
        bone += rounded_thickness(c.fill(p), 1.5, 1.6 * c.px)
    shaft = smooth_open([moved(head, 0.2, 0.3), moved(head, 1.6 + arms_out, 8), moved(head, 4 + 5 * arms_out, 22)])
    shafts = [(p, np.minimum(2.3, np.linspace(1.4, 9, len(p)))) for p in _both(shaft)]
    bone += c.ribbons(shafts, SHELL_PROFILE) * np.float32(1.3)
    manubrium = smooth_closed(
        [(-2.6, -10.2), (0, -9.6), (2.6, -10.2), (1.9, -7.6), (1.5, -5.0), (-1.5, -5.0), (-1.9, -7.6)]
    )
    bone += c.fill(manubrium, depth=-9).astype(np.float32) * np.float32(0.22 / 255)
    return bone * np.float32(a.bone_density)


def frontal_thickness(a: ThoraxAnatomy, c: Canvas, ap: bool = False, arms_out: float = 0.5) -> ThicknessMaps:
    """Tissue thickness of a frontal view.

    ``ap`` draws it antero-posterior (heart magnified, shoulder blades over the lungs, clavicles high) instead of PA;
    ``arms_out`` is how far the arms are held aside, 0..1.
    """
    body = _body(a, c, arms_out)
    x, y = c.grid(1.0)
    side = np.zeros(c.shape, np.int8)
    lung = np.zeros(c.shape, np.float32)
    field = np.zeros(c.shape, bool)
    cage = np.zeros(c.shape, bool)
    heart_outline = a.heart_outline * ([1.14, 1.0] if ap else [1.0, 1.0])
    # A heart seen from the front magnifies and widens when the diaphragm rises.
    heart_outline = heart_outline * [1 + 0.6 * (1 - c.pose.inspiration), 1]
    heart_fill = c.fill(heart_outline, depth=-3, follow=1)
    mediastinum_fill = c.fill(a.mediastinum_outline, depth=1, follow=0.5)
    covered = (heart_fill > 127) | (mediastinum_fill > 127)
    for s in (-1, 1):
        whole = c.fill(a.lung_outline(s), follow=1)
        below = c.fill(a.abdomen_outline(s), follow=1)
        t = rounded_thickness(whole, 0.70 * a.depth, 5.6 * c.px)
        lung += np.maximum(t - rounded_thickness(below, 0.78 * a.depth, 3.6 * c.px), 0)
        inside = whole > 127
        cage |= inside
        side[inside] = s
        field |= inside & (below <= 127) & ~covered
    lung *= np.interp(y, [-14, -11, -5, 2], [0.45, 0.62, 0.92, 1.0]).astype(np.float32)
    lung = np.minimum(lung, np.maximum(body - 1.5, 0))
    solid = rounded_thickness(heart_fill, 0.60 * a.depth, 5.0 * c.px)
    solid = np.maximum(solid, rounded_thickness(mediastinum_fill, 0.55 * a.depth, 3.4 * c.px))
    aorta = smooth_open([(1.1 + a.knob * 0.75, -6.6), (2.6, -2), (2.3, 4), (1.5, 12), (1.0, 18)])
    solid += c.ribbons([(aorta, 2.4)], TUBE_PROFILE, [6.0]) * np.float32(2.2)
    lung = np.maximum(lung - solid, 0)
    starts, ends, radii, _ = a.vessel_segments
    vessels = c.tubes(starts, ends, radii)
    vessels = cv2.GaussianBlur(vessels, (0, 0), 0.045 * c.px) * np.float32(2.6)
    for s in (-1, 1):  # the hilum: a soft knot behind the first branches
        hx, hy = s * 3.9 * a.width, (-1.5 if s > 0 else -0.4) * a.height
        knot = ((x - hx) / 1.5) ** 2 + ((y - hy) / 2.3) ** 2
        vessels += np.float32(2.2) * np.exp(-knot)
    lung = np.maximum(lung - np.minimum(vessels, 0.8 * lung), 0)
    # Interstitium: a few per cent of the aerated thickness is not air.
    lung *= 1 - np.float32(0.03) * c.texture(a.lung_texture, 0.2)
    air = np.zeros(c.shape, np.float32)
    trachea = smooth_open([(0.1, -24), (0.0, -17), (-0.1, -12), (-0.35, -8), (-0.2, -5.2)])
    bore = np.interp(np.linspace(0, 1, len(trachea)), [0, 0.4, 1], [1.5, 1.75, 1.8])
    right = smooth_open([(-0.45, -5.6), (-1.9, -3.4), (-3.6, -1.6)])
    left = smooth_open([(-0.05, -5.6), (2.0, -3.9), (4.4, -2.3)])
    tubes: list[tuple[np.ndarray, np.ndarray | float]] = [(right, 1.15), (left, 1.0)]
    air += c.ribbons([(trachea, bore)], TUBE_PROFILE, [2.0], follow=0.3) * np.float32(2.2)
    air = np.maximum(air, c.ribbons(tubes, TUBE_PROFILE, [2.0, 2.0], follow=0.3) * np.float32(1.05))
    air = np.asarray(cv2.GaussianBlur(air, (0, 0), 0.12 * c.px), np.float32)
    if a.stomach:
        r = a.stomach
        g = stream(a.seed, 14)
        t = np.linspace(0, 2 * math.pi, 9, endpoint=False)
        gas = np.stack([(1.1 + 0.35 * g.random()) * np.cos(t), (0.75 + 0.3 * g.random()) * np.sin(t)], 1)
        gas = gas * (1 + g.normal(0, 0.09, (9, 1)))
        if g.random() < 0.5:  # upright patients show a fluid level
            gas[:, 1] = np.minimum(gas[:, 1], 0.55)
        gas = smooth_closed(gas * r + [5.2 + 2.4 * g.random(), 11.4 + r - 0.7 * a.dome_left])
        air += rounded_thickness(c.fill(gas * [a.width, a.height], follow=1), 1.25 * r, 1.2 * r * c.px)
    if a.breast:
        # Full towards its lower edge, melting into the chest wall above.
        ramp = np.clip((y / a.height + 4.5) / 9.0, 0, 1) ** 1.3
        for s in (-1, 1):
            mound = smooth_closed(
                [(5.2, 4), (6.0, -3), (9, -7), (13.5, -5), (15.8, 2), (14.4, 8.0), (10.6, 10.6), (7.0, 8.8)]
            )
            fill = c.fill(mound * [s * a.width, a.height], depth=-10)
            body = body + ramp * rounded_thickness(fill, a.breast, 4.0 * c.px)
    soft = np.maximum(body - lung - air, 0)
    bone = _skeleton(a, c, ap, arms_out) * (body > 0.3)
    return ThicknessMaps(soft=soft, lung=lung, bone=bone, lung_field=field, cage=cage, side=side)
