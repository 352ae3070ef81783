# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Anatomy of one phantom patient.

Frame (cm): x to the patient's left (the viewer's right on a frontal image), y towards the feet, z towards the back,
origin in the middle of the chest. A "standard" chest is 27 cm wide and 25 cm high inside; every other one is a
scaled copy with its own heart, spine, vessels and habitus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from monai_cxrssl.phantom.canvas import fractal_noise, smooth_closed, smooth_open

__all__ = ["ThoraxAnatomy", "sample_anatomy", "stream"]


def stream(*key: int) -> np.random.Generator:
    """An independent random stream for a key such as (seed, patient, purpose): no order of calls can change it."""
    return np.random.default_rng(np.random.SeedSequence([int(k) & 0xFFFFFFFF for k in key]))


# Control points of the standard chest (x of the patient's left side, y), cm.
_LUNG_LATERAL = [(4.9, -13.3), (7.6, -12.2), (9.9, -9.2), (11.5, -5.0), (12.6, -0.5), (13.3, 4.0), (13.5, 8.5)]
_LUNG_BASE = [(13.2, 12.2), (12.6, 13.9), (10.5, 14.9), (6.5, 14.9), (3.0, 13.2)]
_LUNG_MEDIAL = [(1.7, 9.0), (1.6, 0.0), (2.0, -6.0), (2.5, -10.0), (3.2, -12.5)]
_DOME_RIGHT = [(13.9, 14.6), (13.0, 13.5), (11.6, 11.4), (9.4, 9.7), (6.8, 9.0), (4.2, 9.5), (2.0, 10.9), (-1.0, 11.6)]
_DOME_LEFT = [(13.9, 15.2), (13, 14.2), (11.8, 12.4), (9.8, 10.9), (7.2, 10.2), (4.6, 10.6), (2, 11.4), (-1.0, 11.8)]
_RIB_HALF_WIDTH = [5.6, 8.4, 10.4, 11.8, 12.7, 13.3, 13.7, 13.9, 13.9, 13.6, 12.9, 12.0]
_RIB_DROP = [2.4, 5.0, 6.8, 8.0, 8.8, 9.2, 9.4, 9.4, 9.0, 8.4, 7.4, 6.0]
_RIB_REACH = [150, 148, 146, 144, 142, 138, 133, 127, 120, 110, 85, 62]  # degrees from spine to the anterior end


@dataclass(frozen=True)
class ThoraxAnatomy:
    """What stays the same in every image of a patient. Lengths in cm, angles in degrees.

    Args:
        seed: drives vessels, lung texture and other detail.
        sex, age: "M" or "F"; years.
        width, height: inner width of the rib cage over the standard 27 cm, and lung height over the standard 25 cm.
        depth, wall: front-to-back thickness of the body; soft tissue outside of the ribs.
        heart, heart_turn: heart size, 1 = cardiothoracic ratio of about 0.47; its rotation, degrees.
        knob: radius of the aortic knob.
        dome_left, dome_right: height of the diaphragm domes over the standard.
        rib_drop, rib_width: slope of the ribs over the standard; width of a rib.
        bone_density: 1 = young adult.
        spine_bow, clavicle_tilt: sideways bow of the spine; degrees.
        breast, stomach: thickness of the breast shadow and radius of the gastric bubble, 0 = none.
        vessels: calibre of the lung vessels, 1 = standard.
    """

    seed: int
    sex: str
    age: int
    width: float
    height: float
    depth: float
    wall: float
    heart: float
    heart_turn: float
    knob: float
    dome_left: float
    dome_right: float
    rib_drop: float
    rib_width: float
    bone_density: float
    spine_bow: float
    clavicle_tilt: float
    breast: float
    stomach: float
    vessels: float

    def place(self, points: list[tuple[float, float]] | np.ndarray, side: int = 1) -> np.ndarray:
        """Points of the standard chest scaled to this patient; ``side`` -1 mirrors them to the patient's right."""
        p = np.array(points, dtype=np.float64)
        p[:, 0] *= side * self.width
        p[:, 1] *= self.height
        return p

    def lung_outline(self, side: int) -> np.ndarray:
        """Whole lung of one side (+1 left, -1 right) ``(N, 2)``, with the parts behind heart and diaphragm."""
        return smooth_closed(self.place(_LUNG_LATERAL + _LUNG_BASE + _LUNG_MEDIAL, side))

    def lateral_wall(self, y: float, side: int) -> float:
        """x of the lung's outer border at height ``y`` (cm)."""
        border = self.place(_LUNG_LATERAL + _LUNG_BASE[:1], side)
        return float(np.interp(y, border[:, 1], border[:, 0]))

    def dome(self, side: int) -> np.ndarray:
        """Diaphragm from the costophrenic angle to the midline ``(N, 2)``."""
        points, lift = (_DOME_LEFT, self.dome_left) if side > 0 else (_DOME_RIGHT, self.dome_right)
        p = self.place(points, side)
        p[2:, 1] -= lift * np.array([0.6, 1, 1, 1, 0.7, 0.4])
        return smooth_open(p)

    def abdomen_outline(self, side: int) -> np.ndarray:
        """Everything below one dome ``(N, 2)``, closed far outside the image."""
        line = self.dome(side)
        outer = line[0, 0] + 6 * side
        return np.concatenate([line, [[line[-1, 0], 40.0], [outer, 40.0], [outer, 15.5]]])

    @cached_property
    def heart_outline(self) -> np.ndarray:
        """Heart shadow of a frontal image ``(N, 2)``."""
        right = [(-2.4, -2.2), (-3.5, 0.6), (-4.3, 4.0), (-4.3, 7.4), (-3.4, 10.6), (0, 12.4), (4.8, 12.6)]
        left = [(8.3, 11.4), (9.2, 9.4), (8.7, 6.9), (7.1, 3.6), (5.4, 0.8), (4.3, -1.4), (3.9, -3.0), (3.0, -4.6)]
        p = np.array([*right, *left, (0.0, -5.2)])
        p[:, 0] *= self.heart * self.width
        a = math.radians(self.heart_turn)
        middle = np.array([2.0, 5.0])
        p = (p - middle) @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) + middle
        p[:, 1] *= self.height
        return smooth_closed(p)

    @cached_property
    def mediastinum_outline(self) -> np.ndarray:
        """Great vessels and upper mediastinum of a frontal image ``(N, 2)``."""
        k = self.knob
        right = [(-3.3, -19.0), (-2.6, -14.5), (-2.45, -11.0), (-3.0, -8.0), (-3.4, -5.0), (-3.4, -1.0), (-2.4, 4.0)]
        left = [(0.5, 6.0), (3.0, 4.0), (4.2, -1.0), (3.5, -4.0), (1.7 + k, -5.4), (1.95 + k, -6.8), (1.3 + k, -8.2)]
        return smooth_closed(self.place(right + left + [(2.5, -9.9), (2.5, -13.0), (3.4, -19.0)]))

    def spine_x(self, y: np.ndarray | float) -> np.ndarray:
        """Sideways bow of the spine at height ``y``."""
        return self.spine_bow * np.sin((np.asarray(y) + 14) / 28 * math.pi)

    def spine_z(self, y: np.ndarray | float) -> np.ndarray:
        """Depth of the vertebral bodies' centre: the thoracic kyphosis."""
        return np.asarray(np.interp(y, [-22, -16, -11, -5, 2, 10, 20], [1.5, 3, 5.4, 7.4, 8, 7, 5]) * self.depth / 22)

    @cached_property
    def vertebrae(self) -> np.ndarray:
        """Centre heights and sizes of C5 to L2 ``(N, 3)``: y, width, height."""
        rows, y = [], -22.0
        while y < 24:
            size = float(np.interp(y, [-22, -12, 10, 24], [0.72, 0.86, 1.05, 1.2]))
            rows.append((y, 3.4 * size, 2.0 * size))
            y += 2.42 * size
        return np.array(rows)

    @cached_property
    def ribs(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Ribs from the spine round to the front: (side, angle ``(N,)`` in degrees, centre line ``(N, 3)``)."""
        rng = stream(self.seed, 11)
        curves = []
        for side in (-1, 1):
            for i, (half, drop, reach) in enumerate(zip(_RIB_HALF_WIDTH, _RIB_DROP, _RIB_REACH, strict=True)):
                jitter = rng.normal(0, 1, 3)
                start = -13.4 + 2.42 * i + 0.08 * jitter[0]
                angle = np.linspace(10, reach + 2 * jitter[1], 40)
                phi = np.radians(angle)
                x = half * self.width * np.sin(phi)
                z = np.cos(phi) * 0.43 * self.depth * (0.55 + 0.45 * min(1.0, (i + 2) / 5))
                y = start + drop * self.rib_drop * ((1 - np.cos(phi)) / 2) ** 1.25 + 0.1 * jitter[2]
                y -= 0.75 * np.sin(2 * np.minimum(phi, math.pi / 2)) * min(1.0, i / 3)
                curves.append((side, angle, np.stack([side * x, y * self.height, z], 1)))
        return curves

    @cached_property
    def vessel_segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pulmonary vessels as tubes: starts ``(N, 3)``, ends ``(N, 3)``, radii ``(N,)``, side ``(N,)``."""
        starts, ends, radii, sides = [], [], [], []
        for side in (-1, 1):
            rng = stream(self.seed, 12, side + 1)
            root = np.array([side * 3.4 * self.width, (-1.6 if side > 0 else -0.4) * self.height, 0.5])
            # Angles from straight up (0) over lateral (90) to the base (180); the lower lobe carries more blood.
            fan = np.radians(np.array([12, 34, 60, 88, 112, 132, 148, 163, 24, 74, 122, 155]) + rng.normal(0, 6, 12))
            pos = root + rng.normal(0, [0.3, 0.7, 0.8], (len(fan), 3))
            tilt = rng.uniform(-0.7, 0.7, len(fan))
            way = np.stack([side * np.sin(fan) * np.cos(tilt), -np.cos(fan) * np.cos(tilt), np.sin(tilt)], 1)
            radius = self.vessels * rng.uniform(0.28, 0.46, len(fan)) * np.where(fan > math.pi / 2, 1.15, 0.85)
            for generation in range(7):
                length = rng.uniform(1.7, 3.2, len(pos)) * 0.95**generation
                for part in range(3):
                    way = way + rng.normal(0, 0.09 + 0.012 * generation, way.shape)
                    way /= np.linalg.norm(way, axis=1, keepdims=True)
                    nxt = pos + way * (length / 3)[:, None]
                    starts.append(pos)
                    ends.append(nxt)
                    radii.append(radius * (1 - 0.08 * part))
                    sides.append(np.full(len(pos), side))
                    pos = nxt
                turn = rng.normal(0, 1, way.shape)
                turn -= (turn * way).sum(1, keepdims=True) * way
                turn *= (rng.uniform(0.35, 0.65, len(way)) / np.linalg.norm(turn, axis=1))[:, None]
                share = rng.uniform(0.55, 0.85, len(way))
                way = np.concatenate([way + turn * 0.5, way - turn * 1.3])
                radius = 0.86 * np.concatenate([radius * share**0.42, radius * (1 - share) ** 0.42])
                pos = np.concatenate([pos, pos])
                keep = radius > 0.03
                way, radius, pos = way[keep], radius[keep], pos[keep]
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(radii), np.concatenate(sides)

    @cached_property
    def lung_texture(self) -> np.ndarray:
        """Interstitial pattern, ``(260, 240)`` float32 at 0.2 cm per cell, zero mean and unit variance."""
        return fractal_noise(stream(self.seed, 13), (260, 240), (1, 2, 4, 9, 22))


def sample_anatomy(seed: int) -> ThoraxAnatomy:
    """Draw one patient's anatomy; the same seed gives the same patient."""
    rng = stream(seed, 10)
    sex = "F" if rng.random() < 0.48 else "M"
    age = int(np.clip(rng.normal(56, 16), 19, 91))
    habitus = float(np.clip(rng.normal(0, 1), -1.8, 2.0))  # from slender to heavy
    female = sex == "F"
    elder = (age - 56) / 30
    return ThoraxAnatomy(
        seed=seed,
        sex=sex,
        age=age,
        width=float((0.94 if female else 1.02) + 0.022 * habitus + rng.normal(0, 0.022)),
        height=float((0.95 if female else 1.02) - 0.012 * habitus + rng.normal(0, 0.03)),
        depth=float(np.clip(21.0 - 1.2 * female + 1.4 * habitus + rng.normal(0, 0.7), 17, 26)),
        wall=float(np.clip(2.2 + 0.6 * habitus + rng.normal(0, 0.2), 1.3, 4.0)),
        heart=float(np.clip(1.0 + 0.05 * habitus + 0.06 * elder + rng.normal(0, 0.06), 0.82, 1.25)),
        heart_turn=float(4 * habitus + rng.normal(0, 4)),
        knob=float(np.clip(1.75 + 0.35 * elder + rng.normal(0, 0.2), 1.2, 2.6)),
        dome_left=float(rng.normal(0, 0.45)),
        dome_right=float(rng.normal(0, 0.45)),
        rib_drop=float(np.clip(rng.normal(1, 0.09), 0.8, 1.2)),
        rib_width=float(np.clip(1.2 - 0.08 * female + rng.normal(0, 0.08), 0.95, 1.45)),
        bone_density=float(np.clip(1.0 - 0.18 * elder - 0.06 * female + rng.normal(0, 0.07), 0.65, 1.25)),
        spine_bow=float(rng.normal(0, 0.35)),
        clavicle_tilt=float(rng.normal(0, 4)),
        breast=float(np.clip(rng.normal(1.8 + 0.45 * habitus, 0.5), 0.6, 3.2)) if female else 0.0,
        stomach=float(rng.uniform(1.1, 2.4)) if rng.random() < 0.6 else 0.0,
        vessels=float(np.clip(rng.normal(1, 0.1), 0.75, 1.3)),
    )
