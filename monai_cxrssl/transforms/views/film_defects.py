# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawn defects of hospital images: windows, text, tubes, opacities, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from monai_cxrssl.errors import ConfigurationError

__all__ = ["FilmDefects"]

_MARKS = ("L", "R", "AP", "PA", "PORTABLE", "SUPINE", "AP ERECT", "SITTING", "MOBILE", "ICU 3", "kV 85", "STAT")
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


@dataclass(frozen=True)
class FilmDefects:
    """Probabilities of what differs between a clean chest image and one from a ward; lungs stay where they are.

    Args:
        opacity: bright clouds, such as consolidation or effusion.
        shading: brightness that changes evenly across the image, as scatter and off-centre beams make it.
        window: a narrower window, whose dark and bright ends are clipped.
        inverted: bright and dark exchanged, as of a file whose photometric interpretation is wrong.
        tubes: lines, electrodes and devices.
        border: a dark or bright frame, as collimation and scans leave it.
        text: burned-in marks.
        blur: a smaller copy enlarged again.
        noise: Gaussian, of a deviation of at most 0.05.

    Raises:
        ConfigurationError: a value is no probability.
    """

    opacity: float = 0.3
    shading: float = 0.3
    window: float = 0.4
    inverted: float = 0.15
    tubes: float = 0.4
    border: float = 0.15
    text: float = 0.5
    blur: float = 0.2
    noise: float = 0.4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is {value!r}; give a probability between 0 and 1.")

    def draw(self, plane: np.ndarray, seed: int) -> np.ndarray:
        """Draw defects on an image, the same for the same seed.

        Args:
            plane: ``(h, w)`` float32 in [0, 1], changed in place where that is possible.
            seed: of the defects.

        Returns:
            ``(h, w)`` float32 in [0, 1].
        """
        random = np.random.default_rng(seed)
        for name, probability in vars(self).items():
            # Spawned, so that a defect switched off leaves the others as they were.
            own = random.spawn(1)[0]
            if own.random() < probability:
                plane = _DEFECTS[name](plane, own)
        return np.clip(plane, 0, 1, out=plane)


def _opacity(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rows, columns = plane.shape
    small = np.zeros((32, 32), np.float32)
    for _ in range(random.integers(1, 5)):
        place = tuple(random.integers(4, 28, 2).tolist())
        axes = tuple(random.integers(2, 9, 2).tolist())
        cv2.ellipse(small, place, axes, random.uniform(0, 180), 0, 360, random.uniform(0.2, 0.9), -1)
    cloud = cv2.resize(cv2.GaussianBlur(small, (0, 0), random.uniform(1, 3)), (columns, rows))
    # Towards the grey of soft tissue, as fluid does: no cloud is brighter than bone.
    return plane + cloud * np.maximum(random.uniform(0.5, 0.85) - plane, 0)


def _shading(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    corners = random.uniform(0.6, 1.3, (2, 2)).astype(np.float32)
    return plane * cv2.resize(corners, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _window(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    low, high = random.uniform(0, 0.2), random.uniform(0.7, 1)
    return np.clip((plane - np.float32(low)) / np.float32(high - low), 0, 1)


def _inverted(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 1 - plane


def _tubes(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rows, columns = plane.shape
    drawn = np.zeros(plane.shape, np.uint8)  # OpenCV smooths edges in bytes alone
    for _ in range(random.integers(1, 5)):
        # A quadratic Bezier curve through the chest, as lines and tubes run.
        ends = random.uniform(0, 1, (3, 2)) * (columns, rows)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        width = int(random.integers(1, max(2, rows // 64)))
        cv2.polylines(drawn, [curve.round().astype(np.int32)], False, _strength(random), width, cv2.LINE_AA)
    for _ in range(random.integers(0, 4)):
        place = tuple((random.uniform(0.1, 0.9, 2) * (columns, rows)).astype(int).tolist())
        side = int(random.integers(max(2, rows // 100), max(3, rows // 20)))
        thickness = int(random.choice((-1, 1)))
        if random.random() < 0.5:
            cv2.circle(drawn, place, side, _strength(random), thickness, cv2.LINE_AA)
        else:
            cv2.rectangle(drawn, place, (place[0] + 2 * side, place[1] + side), _strength(random), thickness)
    return _covered(plane, drawn, random.uniform(0.7, 1))


def _strength(random: np.random.Generator) -> int:
    return int(random.integers(75, 256))


def _covered(plane: np.ndarray, drawn: np.ndarray, grey: float) -> np.ndarray:
    """The plane under what was drawn in bytes, 255 for opaque, of one grey."""
    return plane + drawn * np.float32(1 / 255) * (np.float32(grey) - plane)


def _border(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rows, columns = plane.shape
    grey = np.float32(random.choice((0.0, 1.0, random.random())))
    top, bottom = (random.uniform(0, 0.07, 2) * rows).astype(int).tolist()
    left, right = (random.uniform(0, 0.07, 2) * columns).astype(int).tolist()
    framed = np.full_like(plane, grey)
    framed[top : rows - bottom, left : columns - right] = plane[top : rows - bottom, left : columns - right]
    return framed


def _text(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rows, columns = plane.shape
    for _ in range(random.integers(1, 4)):
        mark = str(random.choice(_MARKS))
        size = random.uniform(0.3, 1.2) * rows / 256
        # Mostly near the rim, where marks are put.
        across, down = (random.beta(0.5, 0.5, 2) * (columns * 0.9, rows)).astype(int).tolist()
        font, thickness = _FONTS[random.integers(len(_FONTS))], int(random.integers(1, 3))
        drawn = np.zeros(plane.shape, np.uint8)
        cv2.putText(drawn, mark, (across, down), font, size, 255, thickness, cv2.LINE_AA)
        plane = _covered(plane, drawn, random.choice((0.0, 1.0, random.uniform(0.5, 1)), p=(0.1, 0.6, 0.3)))
    return plane


def _blur(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    factor = random.uniform(1.2, 3)
    small = tuple(max(8, round(side / factor)) for side in plane.shape[::-1])
    return cv2.resize(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), plane.shape[::-1])


def _noise(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return plane + random.standard_normal(plane.shape, np.float32) * np.float32(random.uniform(0.005, 0.05))


_DEFECTS = {
    "opacity": _opacity, "shading": _shading, "window": _window, "inverted": _inverted, "tubes": _tubes,
    "border": _border, "text": _text, "blur": _blur, "noise": _noise,
}  # fmt: skip
