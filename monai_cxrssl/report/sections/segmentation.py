# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on segmentation: overlap, surface distances and area, of the films that have a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, bootstrap_mean, flat_metrics
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, reasons_note

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


def measure_interval(films: Films, name: str, plan: ResamplingPlan) -> Interval:
    """Return the mean of a measure over the films that have it, with its interval over patients, or why not."""
    values, nan = films.measures.get(name), float("nan")
    if values is None or not np.isfinite(values).any():
        return Interval(nan, nan, nan, 0, "no film has this figure")
    if films.take(np.isfinite(values)).patients < 2:
        return Interval(nan, nan, nan, 0, "the films that have it are of fewer than two patients")
    return bootstrap_mean(values, films.cohort.patients, name, plan)


def segmentation_findings(test: Films, gallery: Picture | None, plan: ResamplingPlan = DEFAULT_PLAN) -> Findings:
    """Make the section.

    Figures: the means ``dice``, ``iou``, ``hd95_mm``, ``surface_distance_mm``, ``hd95_pixel``,
    ``surface_distance_pixel``, ``area_ratio``, and ``masked``, the films with a mask.

    Args:
        test: what to assess.
        gallery: picture of the worst cases, if there is one.
        plan: of the bootstrap.
    """
    counts = {name: int(np.isfinite(test.measures[name]).sum()) for name in _NAMES if name in test.measures}
    if not any(counts.values()):
        why = "no film was compared with a mask: the films have none, or the model gives none"
        section = Section("segmentation", "Segmentation", [], [Flag("unknown", f"Not assessable: {why}.")])
        return Findings(section, {"masked": 0}, {"dice": why, "dice_ci_low": why})
    # Distances in mm and in pixels stand apart, and only the kind that there is is shown.
    shown = [name for name in _NAMES if counts.get(name) or not name.endswith(("_mm", "_pixel"))]
    intervals = {name: measure_interval(test, name, plan) for name in shown}
    rows: list[list[Any]] = []
    for name in shown:
        values = test.measures.get(name, np.empty(0))
        values = values[np.isfinite(values)]
        worst = None
        if values.size:
            worst = float(values.max() if name.startswith(("hd95", "surface")) else values.min())
        if name == "area_ratio" and values.size:
            worst = float(values[np.abs(np.log(np.maximum(values, 1e-6))).argmax()])
        median = float(np.median(values)) if values.size else None
        rows.append([_NAMES[name], counts.get(name, 0), interval_text(intervals[name]), median, worst])
    flags = []
    if counts.get("hd95_pixel") or counts.get("surface_distance_pixel"):
        films = max(counts.get("hd95_pixel", 0), counts.get("surface_distance_pixel", 0))
        flags.append(
            Flag(
                "warning",
                f"The size of a pixel is unknown for {films} films; their distances are in pixels, not in mm.",
            )
        )
    empty = counts.get("dice", 0) - counts.get("hd95_mm", 0) - counts.get("hd95_pixel", 0)
    if empty > 0:
        flags.append(
            Flag("warning", f"{empty} films have no surface distance, since the true or the predicted mask is empty.")
        )
    if not np.isfinite(intervals["dice"].value):
        flags.append(Flag("unknown", f"The mean Dice is not assessable: {intervals['dice'].reason}."))
    table = Table("Films with a mask", ["Figure", "Films", "Mean", "Median", "Worst film"], rows,
                  reasons_note(intervals, _NAMES))  # fmt: skip
    text = ["Means over films, with 95 % intervals from resampled patients. Dice and IoU are better when higher, "
            "distances when lower; an area ratio of 1 is right."]  # fmt: skip
    section = Section("segmentation", "Segmentation", text, flags, [table], [] if gallery is None else [gallery])
    figures = {"masked": counts.get("dice", 0), **flat_metrics(intervals)}
    return Findings(section, figures, missing_figures(intervals))
