# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of phantom images and masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from monai_cxrssl.phantom.anatomy import ThoraxAnatomy, stream
from monai_cxrssl.phantom.canvas import Canvas, smooth_open
from monai_cxrssl.phantom.findings import project_findings
from monai_cxrssl.phantom.frontal import frontal_thickness
from monai_cxrssl.phantom.lateral import lateral_thickness
from monai_cxrssl.phantom.patient import Acquisition, PhantomPatient
from monai_cxrssl.phantom.projection import expose, for_presentation, line_integral, transmit

__all__ = ["PhantomImage", "render"]


@dataclass(frozen=True)
class PhantomImage:
    """One rendered image.

    Args:
        image: ``(1, H, W)`` float32 in [0, 1], both ends reached, bright = dense.
        lung_mask: ``(1, H, W)`` uint8, lung seen clear of heart and diaphragm.
        opacity_mask: ``(1, H, W)`` uint8, the findings; all 0 for the negative class.
        spacing: pixel size at the detector, cm.
    """

    image: np.ndarray
    lung_mask: np.ndarray
    opacity_mask: np.ndarray
    spacing: float


def _devices(a: ThoraxAnatomy, q: Acquisition, c: Canvas) -> np.ndarray:
    """Metal of electrode leads and of a venous line, ``(H, W)`` float32 in cm."""
    rng = stream(q.seed, 42)
    metal = np.zeros(c.shape, np.float32)
    if q.devices:
        wires, pads = [], c.blank()
        for x, y in ((-10.5, -8.5), (10.5, -8.0), (9.0, 11.0)):
            end = np.array([x * a.width, y]) + rng.normal(0, 0.9, 2)
            leave = np.array([rng.uniform(-4, 4), 24.0])
            bends = [end + (leave - end) * f + rng.normal(0, 2.2, 2) for f in (0.3, 0.65)]
            wires.append((smooth_open([end, *bends, leave]), 0.22))
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            disc = np.stack([np.cos(angle), np.sin(angle)], 1)
            c.fill(disc * 0.62 + end, grey=110, layer=pads)
            c.fill(disc * 0.3 + end, grey=255, layer=pads)
        metal += c.ribbons(wires, ((1.0, 0.5), (0.6, 1.0))) * np.float32(0.11)
        metal += pads.astype(np.float32) * np.float32(0.22 / 255)
    if q.tube:
        side = float(rng.choice([-1, 1]))
        start = [side * 3.6, -17.0]
        line = smooth_open([start, [side * 3.2, -12.5], [-2.0, -8.0], [-2.5, -4.0], [-2.3, rng.uniform(-2, 1.5)]])
        metal += c.ribbons([(line, 0.24)], ((1.0, 1.0), (0.5, 0.6))) * np.float32(0.07)
    return metal


def _marker(q: Acquisition, shape: tuple[int, int]) -> np.ndarray:
    """The lead letter of a side marker, ``(H, W)`` float32 in cm of metal."""
    layer = np.zeros(shape, np.uint8)
    if not q.marker:
        return layer.astype(np.float32)
    rng = stream(q.seed, 43)
    h, w = shape
    unit = max(h, w)
    scale = unit / 512 * rng.uniform(0.75, 1.15)
    line = max(1, round(2.6 * scale))
    (tw, th), _ = cv2.getTextSize(q.marker, cv2.FONT_HERSHEY_SIMPLEX, scale, line)
    # Images are shown as if facing the patient: the patient's right is on the viewer's left.
    x = rng.uniform(0.05, 0.09) * w if q.marker == "R" else w * rng.uniform(0.91, 0.95) - tw
    if q.lateral:
        x = rng.uniform(0.05, 0.12) * w
    y = rng.uniform(0.05, 0.12) * h + th
    cv2.putText(layer, q.marker, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, line, cv2.LINE_AA)
    if rng.random() < 0.4:
        pad = round(0.012 * unit)
        corners = (int(x) - pad, int(y) - th - pad), (int(x) + tw + pad, int(y) + pad)
        cv2.rectangle(layer, *corners, 160, max(1, line // 2), cv2.LINE_AA)
    return layer.astype(np.float32) * np.float32(1.2 / 255)


def render(patient: PhantomPatient, acquisition: Acquisition | int = 0) -> PhantomImage:
    """Render one image (or its number) of a patient: image and masks, ``(1, H, W)`` each, in the package's array
    convention."""
    q = patient.acquisitions[acquisition] if isinstance(acquisition, int) else acquisition
    a = patient.anatomy
    pixels_per_cm = max(q.height, q.width) / q.field_cm
    canvas = Canvas(q.height, q.width, pixels_per_cm, q.pose, (0.6, 0.2) if q.lateral else (0.0, 0.2))
    if q.lateral:
        maps = lateral_thickness(a, canvas)
    else:
        maps = frontal_thickness(a, canvas, ap=q.view_position == "AP", arms_out=q.arms_out)
    # The display curve is set by the healthy chest: a finding must not give itself away by the exposure.
    healthy = line_integral(maps.soft, maps.lung, maps.bone).astype(np.float32)
    step = 4
    signal = -np.log(transmit(healthy[::step, ::step], pixels_per_cm / step, q.exposure.scatter))
    lung_level = float(np.median(signal[maps.lung_field[::step, ::step]]))
    dense_level = float(np.percentile(signal[signal > 0.3], 88))
    replaced, opacity = project_findings(patient.findings, a, canvas, maps, q.lateral)
    metal = _marker(q, canvas.shape)
    if q.devices or q.tube:
        metal = metal + _devices(a, q, canvas)
    total = line_integral(maps.soft + replaced, maps.lung - replaced, maps.bone, metal).astype(np.float32)
    width = max(dense_level - lung_level, 0.5)
    middle = lung_level + (0.42 if q.lateral else 0.52) * width
    film = expose(total, q.exposure, pixels_per_cm, stream(q.seed, 41))
    film = for_presentation(film, middle, width, q.exposure, pixels_per_cm)
    low, high = np.percentile(film[::2, ::2], [0.8, 99.7])
    film = np.clip((film - low) / max(high - low, 1e-3), 0, 1).astype(np.float32)
    left, top, right, bottom = (round(f * max(q.height, q.width)) for f in q.shutter)
    for part in (np.s_[:, :left], np.s_[:top], np.s_[:, q.width - right :], np.s_[q.height - bottom :]):
        film[part] = 0
    lung_mask, opacity_mask = (mask[None].astype(np.uint8) for mask in (maps.lung_field, opacity))
    return PhantomImage(film[None], lung_mask, opacity_mask, spacing=1.0 / pixels_per_cm)
