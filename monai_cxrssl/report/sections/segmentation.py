# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report section on segmentation: overlap, surface distances and area."""

from __future__ import annotations

import math

import numpy as np

from monai_cxrssl.metrics.clustered_proportion import proportion_interval
from monai_cxrssl.metrics.patient_bootstrap import Interval, ResamplingPlan, bootstrap_mean, missing_interval
from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Films, Findings

__all__ = ["measure_interval", "segmentation_findings"]

_NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "95 % Hausdorff distance, mm",
    "surface_distance_mm": "Mean surface distance, mm",
    "hd95_pixel": "95 % Hausdorff distance, pixels",
    "surface_distance_pixel": "Mean surface distance, pixels",
    "area_ratio": "Predicted over true area",
}
#: The others, attention's too, are shares.
_UNBOUNDED = ("hd95_mm", "surface_distance_mm", "hd95_pixel", "surface_distance_pixel", "area_ratio")


def measure_interval(films: Films, name: str, plan: ResamplingPlan) -> Interval:
    """Return the mean of a measure over the images that have it, with its interval over patients, or why not."""
    values = films.measures.get(name)
    if values is None or not np.isfinite(values).any():
        return missing_interval("no image has this figure")
    if films.take(np.isfinite(values)).patients < 2:
        return missing_interval("the images that have it are of fewer than two patients")
    if name == "pointing":
        return proportion_interval(values, films.cohort.patients, plan.confidence)
    highest = math.inf if name in _UNBOUNDED else 1.0
    return bootstrap_mean(values, films.cohort.patients, name, plan, (0.0, highest))


def segmentation_findings(evidence: Evidence) -> Findings:
    """Make the section.

    Figures: ``masked``, the images with a mask, and the means ``dice``, ``iou``, ``hd95_mm``, ``surface_distance_mm``,
    ``hd95_pixel``, ``surface_distance_pixel``, ``area_ratio``.
    """
    findings, test = Findings(Section("segmentation", "Segmentation")), evidence.test
    known = {name: values[np.isfinite(values)] for name in _NAMES if (values := test.measures.get(name)) is not None}
    counts = {name: len(known.get(name, ())) for name in _NAMES}
    findings.figures["masked"] = counts["dice"]
    if not any(counts.values()):
        why = "no image was compared with a mask: the images have none, or the model gives none"
        return findings.not_assessable(why, ("dice", "dice_ci_low"))
    # Distances in mm and in pixels stand apart, and only the kind that there is is shown.
    names = [name for name in _NAMES if counts[name] or not name.endswith(("_mm", "_pixel"))]
    intervals = {name: measure_interval(test, name, evidence.plan) for name in names}
    rows = []
    for name in names:
        values = known.get(name, np.empty(0))
        median = float(np.median(values)) if values.size else None
        rows.append([_NAMES[name], counts[name], intervals[name], median, _worst(name, values)])
    note = {_NAMES[name]: interval for name, interval in intervals.items()}
    findings.table("Images with a mask", ["Figure", "Images", "Mean", "Median", "Worst image"], rows, note)
    if films := max(counts["hd95_pixel"], counts["surface_distance_pixel"]):
        findings.flag(
            "warning", f"The size of a pixel is unknown for {films} images; their distances are in pixels, not in mm."
        )
    empty = counts["dice"] - counts["hd95_mm"] - counts["hd95_pixel"]
    if empty > 0:
        findings.flag(
            "warning", f"{empty} images have no surface distance, since the true or the predicted mask is empty."
        )
    if not np.isfinite(intervals["dice"].value):
        findings.flag("unknown", f"The mean Dice is not assessable: {intervals['dice'].reason}.")
    findings.text(
        "Means over images, with 95 % intervals from resampled patients. Dice and IoU are better when higher, "
        "distances when lower; an area ratio of 1 is right."
    )
    if "segmentation" in evidence.pictures:
        findings.section.pictures.append(evidence.pictures["segmentation"])
    findings.intervals(intervals)
    return findings


def _worst(name: str, values: np.ndarray) -> float | None:
    if not values.size:
        return None
    if name == "area_ratio":
        return float(values[np.abs(np.log(np.maximum(values, 1e-6))).argmax()])
    return float(values.max() if name.startswith(("hd95", "surface")) else values.min())
