# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""X-ray projection: Beer-Lambert, scatter, noise, display processing."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["MU", "Exposure", "line_integral", "transmit", "expose", "for_presentation"]

MU: dict[str, float] = {"soft": 0.185, "lung": 0.042, "bone": 0.27, "metal": 4.0}
"""Linear attenuation in 1/cm near 60 keV. Bone is the surplus over the soft tissue that it replaces."""


@dataclass(frozen=True)
class Exposure:
    """Detector and display settings of one exposure.

    Args:
        photons: detected quanta per pixel without a patient (a pixel of 0.8 mm); fewer = noisier.
        scatter: scattered over primary radiation in the mean.
        contrast: steepness of the display curve, 1 = standard.
        brightness: shift of the display curve, in units of attenuation; positive = darker image.
        detail: gain of the local contrast enhancement.
    """

    photons: float = 60000.0
    scatter: float = 0.3
    contrast: float = 1.0
    brightness: float = 0.0
    detail: float = 0.8


def line_integral(
    soft: np.ndarray, lung: np.ndarray, bone: np.ndarray | float = 0.0, metal: np.ndarray | float = 0.0
) -> np.ndarray:
    """Sum of thickness (cm) x attenuation coefficient (1/cm) along each ray, same shape as ``soft``."""
    total = np.asarray(soft) * MU["soft"]
    total = total + np.asarray(lung) * MU["lung"]
    total = total + np.asarray(bone) * MU["bone"]
    return total + np.asarray(metal) * MU["metal"]


def _wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a large sigma (pixels), done at a lower resolution where it costs nothing."""
    step = max(1, int(sigma / 4))
    if step == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    size = (max(2, image.shape[1] // step), max(2, image.shape[0] // step))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)


def transmit(attenuation: np.ndarray, pixels_per_cm: float = 1.0, scatter: float = 0.0) -> np.ndarray:
    """Detected intensity relative to the open beam: ``exp(-attenuation)`` plus a smooth veil of scatter.

    ``attenuation`` are line integrals ``(H, W)``; ``pixels_per_cm`` sets the width of the veil, ``scatter`` the
    fraction of the blurred primary beam that is added; 0 = Beer-Lambert alone.
    """
    primary = np.exp(-np.asarray(attenuation))
    if scatter <= 0:
        return primary
    # Compton scatter is born in the patient: the open beam contributes little, so it is clipped first.
    born = np.minimum(primary, 0.12).astype(np.float32)
    return primary + np.float32(scatter) * np.maximum(_wide_blur(born, 3.5 * pixels_per_cm), 0)


def expose(attenuation: np.ndarray, exposure: Exposure, pixels_per_cm: float, rng: np.random.Generator) -> np.ndarray:
    """Log signal ``-ln(intensity)`` ``(H, W)`` float32 of a noisy exposure; bright = dense."""
    intensity = transmit(attenuation.astype(np.float32), pixels_per_cm, exposure.scatter)
    intensity = cv2.GaussianBlur(intensity, (0, 0), 0.05 * pixels_per_cm)  # focal spot and detector, 0.5 mm
    photons = np.float32(exposure.photons * (12.8 / pixels_per_cm) ** 2)
    noise = rng.standard_normal(intensity.shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.55) * np.float32(1.6)
    # Poisson variance; at thousands of quanta the normal approximation is exact enough and far cheaper.
    noisy = intensity + np.sqrt(intensity / photons) * noise
    return -np.log(np.maximum(noisy, np.float32(1e-4)))


def for_presentation(
    signal: np.ndarray, middle: float, width: float, exposure: Exposure, pixels_per_cm: float
) -> np.ndarray:
    """The vendor's display curve: local contrast, then an image-like S-curve. ``(H, W)`` float32 in about [0, 1].

    ``middle`` is the signal shown half bright, ``width`` its range from lung to mediastinum; ``pixels_per_cm`` sets the
    width of the local contrast filter. Contrast, brightness and detail are those of the exposure.
    """
    detail = signal - _wide_blur(signal, 1.3 * pixels_per_cm)
    detail = np.clip(detail, -0.35, 0.2)  # no halo at the skin or around metal
    s = signal + np.float32(exposure.detail) * detail - np.float32(middle + exposure.brightness)
    return 1 / (1 + np.exp(-s * np.float32(2.1 * exposure.contrast / width)))
