# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intensity and sharpness range of the training images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.data.stores.image_store import ImageStore
from monai_cxrssl.data.stores.small_film import shrink
from monai_cxrssl.errors import ConfigurationError, CXRReadError

__all__ = ["TrainingRange", "film_statistics", "measure_training_range"]

# Below, percentiles near the ends are single images.
_FEWEST_FILMS = 30
_MOST_FILMS = 2000
# Each is decoded anew where the store keeps no pixels.
_MOST_DECODED = 200
_PERCENTILES = (1, 50, 99)
_SIDE, _SHARPNESS_SIDE, _REGIONS = 64, 96, 8
# A statistic is outside when it exceeds the first or last percentile by this part of that one's distance from the
# median (more for few images, whose percentiles are unsure), and by at least the slack: where all training images agree
# (all square, none with black borders) the distance is 0. On images of the training's own source, but other patients,
# 0.4 to 4 in 100 are then warned of.
_BEYOND, _BEYOND_OF_FEW = 0.5, 20.0
_BEYOND_AGE = 0.1
# By statistic: the slack, and the words for a value below and above; no words, no warning.
_WORDS: dict[str, tuple[float, str, str]] = {
    "mean_intensity": (0.02, "darker than", "brighter than"),
    "contrast": (0.02, "of less contrast than", "of more contrast than"),
    "black_share": (0.02, "", "more black than"),
    "white_share": (0.02, "", "more white than"),
    "height_to_width": (0.1, "wider than", "narrower than"),
    "sharpness": (0.02, "more blurred than", "sharper or noisier than"),
    "shorter_side": (4, "of fewer pixels than", ""),
    "deviation": (0.1, "", "laid out unlike"),
}


@dataclass(frozen=True)
class TrainingRange:
    """Statistics of training images; plain JSON values, made by :func:`measure_training_range`.

    Attributes:
        films: how many were looked at.
        percentiles: the 1st, 50th and 99th of each statistic of :func:`film_statistics`, and of ``deviation``: by how
            many standard deviations an image's regions differ from the mean image's, as the root of the mean square.
        region_mean: the mean image in 8 x 8 regions, row by row; each image has mean 0 and standard deviation 1.
        region_spread: standard deviation of each region over the images, 0.1 added.
        age: 1st, 50th and 99th percentile of the patients' ages in years; empty where too few are known.
        views: how many images of each known view, by its first word (``AP`` of "AP Supine").
    """

    films: int
    percentiles: dict[str, list[float]]
    region_mean: list[float]
    region_spread: list[float]
    age: list[float]
    views: dict[str, int]

    @classmethod
    def from_dict(cls, content: Any) -> TrainingRange:
        """Read what :meth:`to_dict` wrote; ConfigurationError for anything else."""
        try:
            found = cls(**content)
            sizes = {len(values) for values in found.percentiles.values()} | {len(found.age) or 3}
            regions = {len(found.region_mean), len(found.region_spread)}
            numbers = [*found.region_mean, *found.region_spread, *found.age, found.films]
            numbers += [value for values in found.percentiles.values() for value in values]
            sound = sizes == {3} and regions == {_REGIONS**2} and all(math.isfinite(value) for value in numbers)
            sound = sound and min(found.region_spread) > 0 and isinstance(found.views, dict)
        except (TypeError, AttributeError):
            sound = False
        if not sound:
            raise ConfigurationError(
                "The training_range of the weights is not what training writes (images, percentiles, region_mean, "
                "region_spread, age, views); train again, or give --training_range None to go without."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    def outside(self, pixels: np.ndarray, age: Any = None, view_position: str = "") -> list[str]:
        """Say in words what of an image no training image is like; nothing when it lies within.

        Args:
            pixels: ``(h, w)`` uint8, uint16 or float in [0, 1], bright = dense, decoded as the training images were.
            age: of the patient in years; anything that is no number counts as unknown.
            view_position: of the image, if known.
        """
        statistics, regions = film_statistics(pixels)
        distance = (regions - self.region_mean) / self.region_spread
        statistics["deviation"] = float(np.sqrt(np.mean(distance**2)))
        told = []
        for name, (slack, below, above) in _WORDS.items():
            value, (low, middle, high) = statistics[name], self.percentiles.get(name, (-math.inf, 0, math.inf))
            beyond = _BEYOND + _BEYOND_OF_FEW / self.films
            words = ""
            if value < low - max(slack, beyond * (middle - low)):
                words = below
            elif value > high + max(slack, beyond * (high - middle)):
                words = above
            if words:
                against = f"{name} {value:.3g} against {low:.3g} to {high:.3g}"
                told.append(f"{words} 99 % of the training images ({against})")
        return [*told, *self._patient_outside(age), *self._view_outside(view_position)]

    def _patient_outside(self, age: Any) -> list[str]:
        years = _years(age)
        if years is None or not self.age:
            return []
        low, middle, high = self.age
        beyond = _BEYOND_AGE + _BEYOND_OF_FEW / self.films
        below = years < low - beyond * (middle - low)
        if not below and years <= high + beyond * (high - middle):
            return []
        side = "below" if below else "above"
        return [f"patient age {years:g} {side} the training images' {low:.3g} to {high:.3g}"]

    def _view_outside(self, view_position: str) -> list[str]:
        view, known = _view(view_position), sum(self.views.values())
        # Views other than frontal have a warning of their own.
        if view not in ("AP", "PA") or known < _FEWEST_FILMS or self.views.get(view, 0) >= 0.01 * known:
            return []
        return [f"view {view}, as {self.views.get(view, 0)} of {known} training images of known view"]


def film_statistics(pixels: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Measure an image ``(h, w)`` uint8, uint16 or float in [0, 1], bright = dense; about 1 ms at a side of 384.

    Returns:
        ``mean_intensity`` and ``contrast`` (standard deviation) in [0, 1] and the shares of ``black`` (< 0.05) and
        ``white`` (> 0.95), all of the image at 64 x 64; ``height_to_width``; ``sharpness``, the standard deviation of
        the Laplacian over that of the image, at a shorter side of 96 (NaN for smaller images, which cannot be
        compared); ``shorter_side`` in pixels. And the ``(64,)`` means of its 8 x 8 regions, of mean 0 and standard
        deviation 1.
    """
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / top
    rows, columns = pixels.shape
    sharpness = math.nan
    if min(rows, columns) >= _SHARPNESS_SIDE:
        middle = shrink(pixels, _SHARPNESS_SIDE).astype(np.float32) / top
        # Without the rim, at which the Laplacian of OpenCV goes by mirrored pixels.
        edges = cv2.Laplacian(middle, cv2.CV_32F, ksize=1)[1:-1, 1:-1]
        sharpness = float(edges.std()) / max(float(middle.std()), 1e-3)
    regions = cv2.resize(small, (_REGIONS, _REGIONS), interpolation=cv2.INTER_AREA).astype(np.float64).reshape(-1)
    statistics = {
        "mean_intensity": float(small.mean()),
        "contrast": float(small.std()),
        "black_share": float((small < 0.05).mean()),
        "white_share": float((small > 0.95).mean()),
        "height_to_width": rows / columns,
        "sharpness": sharpness,
        "shorter_side": float(min(rows, columns)),
    }
    return statistics, (regions - regions.mean()) / max(float(regions.std()), 1e-3)


def measure_training_range(
    images: ImageStore, numbers: Sequence[int] | None = None, image_size: int | None = None, seed: int = 0
) -> TrainingRange | None:
    """Measure up to 2000 images of a training, or up to 200 where each must be decoded for it, chosen by ``seed``.

    ``numbers`` are of the images trained on, by default all; ``image_size`` is the side of the network's input in
    pixels, images of more count as of so many. Gives None for fewer than 30 images: of so few nothing can be said of
    what is rare.
    """
    chosen = np.arange(len(images)) if numbers is None else np.unique(np.asarray(numbers, np.int64))
    most = _MOST_FILMS if images.in_memory else _MOST_DECODED
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
    measured = []
    for number in chosen.tolist():
        try:
            measured.append(film_statistics(images.image(number)))
        except CXRReadError:  # gone since the start; training could do without it, and so can this
            continue
    if len(measured) < _FEWEST_FILMS:
        return None
    columns = {name: np.array([each[name] for each, _ in measured]) for name in measured[0][0]}
    if image_size:
        columns["shorter_side"] = np.minimum(columns["shorter_side"], image_size)
    regions = np.stack([each for _, each in measured])
    mean, spread = regions.mean(0), regions.std(0) + 0.1
    # Against the mean of the others: an image is always nearer to a mean that it is part of.
    distance = (regions - mean) * len(regions) / (len(regions) - 1) / spread
    columns["deviation"] = np.sqrt(np.mean(distance**2, axis=1))
    percentiles = {name: _percentiles(values) for name, values in columns.items()}
    items = [images.items[number] for number in chosen.tolist()]
    views = [_view(item.get("view_position")) for item in items]
    ages = np.array([years for years in (_years(item.get("age")) for item in items) if years is not None])
    return TrainingRange(
        films=len(measured),
        percentiles={name: values for name, values in percentiles.items() if values},
        region_mean=_rounded(mean),
        region_spread=_rounded(spread),
        age=_percentiles(ages),
        views=dict(Counter(filter(None, views)).most_common()),
    )


def _percentiles(values: np.ndarray) -> list[float]:
    known = values[np.isfinite(values)]
    return _rounded(np.percentile(known, _PERCENTILES)) if len(known) >= _FEWEST_FILMS else []


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _years(age: Any) -> float | None:
    try:
        years = float(age)
    except (TypeError, ValueError):
        return None
    return years if 0 <= years < 130 else None


def _view(view_position: Any) -> str:
    words = str(view_position or "").upper().replace("_", " ").split()
    return words[0] if words else ""
