# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of lung segmentation weights with human masks, and their warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.data import TrainingRange, decoded_side
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.handlers.inference.film_warnings import film_warnings
from monai_cxrssl.metrics import bootstrap_mean
from monai_cxrssl.networks import SegmentLungs, read_training_range
from monai_cxrssl.transforms import LoadSmallCXR

__all__ = ["VARIANTS", "Measured", "measure", "mean_over_patients", "summary"]

_BATCH = 16
#: Below, a mask is a failure that somebody ought to be warned of.
FAILURE = 0.8


@dataclass
class Measured:
    """An image, its masks and what was said of them; of an image without a human mask the Dice is NaN."""

    item: dict[str, Any]
    film: np.ndarray  #: ``(h, w)`` uint8.
    human: np.ndarray | None  #: ``(h, w)`` bool.
    drawn: np.ndarray  #: ``(h, w)`` bool.
    dice: float
    dice_outside: float  #: of the pixels outside the heart's mask, NaN without one.
    warnings: list[str] = field(default_factory=list)


Variant = Callable[[np.ndarray, bool], np.ndarray]


def _turned(degrees: float) -> Variant:
    def turn(plane: np.ndarray, is_mask: bool) -> np.ndarray:
        rows, columns = plane.shape
        side = round(np.hypot(rows, columns))
        matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), degrees, 1.0)
        matrix[:, 2] += (side - columns) / 2, (side - rows) / 2
        flags = cv2.INTER_NEAREST if is_mask else cv2.INTER_LINEAR
        return cv2.warpAffine(plane, matrix, (side, side), flags=flags)

    return turn


def _enlarged(plane: np.ndarray, is_mask: bool) -> np.ndarray:
    factor = 1024 / max(plane.shape)
    size = (round(plane.shape[1] * factor), round(plane.shape[0] * factor))
    return cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST if is_mask else cv2.INTER_CUBIC)


#: Changes of an image, and of its masks, by name.
VARIANTS: dict[str, Variant] = {
    "inverted": lambda plane, is_mask: plane if is_mask else 255 - plane,
    "turned by 45 degrees": _turned(45),
    "turned by -45 degrees": _turned(-45),
    "1,024 px": _enlarged,
}


def _as_it_is(plane: np.ndarray, is_mask: bool) -> np.ndarray:
    return plane


def measure(segment: SegmentLungs, items: Sequence[dict[str, Any]], variant: Variant = _as_it_is) -> list[Measured]:
    """Segment images and compare with their human masks.

    Args:
        segment: draws the lungs.
        items: with ``image`` and, where there are any, ``lung_mask`` and ``heart_mask``.
        variant: change of each image.
    """
    load = LoadSmallCXR(decoded_side(segment.resize.size[0]))
    stored = read_training_range(segment.path)
    training_range = None if stored is None else TrainingRange.from_dict(stored)
    measured: list[Measured] = []
    for batch in _batches(items):
        films = [variant(load.read(item["image"])[0][0], False) for item in batch]
        for item, film, probability in zip(batch, films, segment.probabilities([f[None] for f in films]), strict=True):
            drawn = segment.on_image(probability, film.shape)[0].numpy().astype(bool)
            human = _mask(item, "lung_mask", film.shape, variant, load)
            heart = _mask(item, "heart_mask", film.shape, variant, load)
            words = segment.doubts(probability, film.shape)
            words += film_warnings(
                {key: item[key] for key in ("view_position",) if key in item}, film, "", training_range
            )
            outside = np.nan if human is None or heart is None else _dice(drawn & ~heart, human & ~heart)
            dice = np.nan if human is None else _dice(drawn, human)
            measured.append(Measured(item, film, human, drawn, dice, outside, words))
    return measured


def mean_over_patients(measured: Sequence[Measured], attribute: str = "dice") -> dict[str, float]:
    """Return the mean, over patients, of the mean of each one's images, and its interval."""
    by_patient: dict[str, list[float]] = {}
    for each in measured:
        by_patient.setdefault(each.item["patient_id"], []).append(getattr(each, attribute))
    means = [float(np.mean(values)) for values in by_patient.values()]
    interval = bootstrap_mean(means, list(by_patient), "dice", limits=(0.0, 1.0))
    return {"value": interval.value, "ci_low": interval.ci_low, "ci_high": interval.ci_high}


def summary(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return images, patients, mean Dice with interval, worst image, warnings, and failures without a warning."""
    known = [each for each in measured if not np.isnan(each.dice)]
    content: dict[str, Any] = {
        "films": len(measured),
        "patients": len({each.item["patient_id"] for each in measured}),
        "warned": sum(bool(each.warnings) for each in measured),
    }
    if not known:
        return content
    silent = [each for each in known if each.dice < FAILURE and not each.warnings]
    content |= {
        "dice": mean_over_patients(known),
        "worst": min(each.dice for each in known),
        "below_0.8": sum(each.dice < FAILURE for each in known),
        "below_0.8_without_warning": len(silent),
    }
    if not any(np.isnan(each.dice_outside) for each in known):
        content["dice_outside_heart"] = mean_over_patients(known, "dice_outside")
    return content


def _mask(
    item: dict[str, Any], name: str, shape: tuple[int, ...], variant: Variant, load: LoadSmallCXR
) -> np.ndarray | None:
    if not item.get(name):
        return None
    decoded = load.read(item["image"])[0].shape[1:]
    mask, _ = read_lung_mask(item[name], decoded, image=item["image"])
    changed = variant(mask, True)
    assert changed.shape == shape
    return changed.astype(bool)


def _dice(drawn: np.ndarray, human: np.ndarray) -> float:
    return float(2 * (drawn & human).sum() / max(drawn.sum() + human.sum(), 1))


def _batches(items: Sequence[dict[str, Any]]) -> Iterable[Sequence[dict[str, Any]]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
