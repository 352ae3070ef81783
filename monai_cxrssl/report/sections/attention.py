# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on lung attention: how much of the saliency lies on the lungs, beside what chance would give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.metrics.lung_attention import attention_above_chance
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, reasons_note
from monai_cxrssl.report.plots.attention import draw_attention
from monai_cxrssl.report.sections.segmentation import measure_interval

__all__ = ["attention_findings"]

_NAMES = {
    "pfs": "Positive fraction of saliency (PFS): share of the saliency that lies on the lungs",
    "lung_area": "Share of the film that the lungs take: the PFS of chance",
    "lung_attention_excess": "PFS minus lung area",
    "pfs_grad_cam": "PFS of Grad-CAM on the last, coarse feature map, to stand beside",
    "pointing": "Pointing game: films whose highest saliency lies on the lungs (chance: the lung area)",
    "saliency_iou": "IoU of the lungs and the most salient fifth of the film",
}
_LUNGS = {
    "mask and model": "The lungs are those of the masks of the data set; where a film has none, those that the model "
    "itself segments.",
    "mask": "The lungs are those of the masks of the data set.",
    "model": "The lungs are those that the model itself segments, so a wrong segmentation makes these figures wrong.",
}
_UNSAID = "Where the lungs come from was not said by the evaluation."


def attention_findings(
    test: Films,
    checks: Mapping[str, Any],
    gallery: Picture | None,
    folder: Path,
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> Findings:
    """Make the section.

    Figures: the means ``pfs``, ``lung_area``, ``pointing`` and ``saliency_iou``, and ``lung_attention_excess``, the
    mean of PFS minus lung area.

    Args:
        test: with measures ``pfs``, ``lung_area``, ``pointing``, ``saliency_iou`` where they were computed.
        checks: with ``lung_mask_from`` and ``saliency_method``.
        gallery: picture of right and wrong decisions, if there is one.
        folder: of the report.
        plan: of the bootstrap.
    """
    none = np.full(len(test.items), np.nan)
    pfs, area = test.measures.get("pfs", none), test.measures.get("lung_area", none)
    both = np.isfinite(pfs) & np.isfinite(area)
    pictures = [] if gallery is None else [gallery]
    if not both.any():
        why = "no film has both a saliency map and lungs: give lung masks, or a model that segments the lungs"
        flag = Flag("unknown", f"Lung attention is not assessable: {why}.")
        section = Section("attention", "Lung attention", [], [flag], [], pictures)
        keys = ("pfs", "lung_area", "lung_attention_excess", "lung_attention_excess_ci_low")
        return Findings(section, {}, dict.fromkeys(keys, why))
    attention = attention_above_chance(pfs, area, test.cohort.patients, plan=plan)
    # Figures beside each other have to be of the same films.
    same = test.take(both)
    intervals = {name: measure_interval(same, name, plan) for name in _NAMES if name in test.measures}
    excess = attention.difference
    if attention.above_chance is None:
        nan = float("nan")
        excess = Interval(nan, nan, nan, 0, attention.text.removeprefix("Not assessable: ").rstrip("."))
    intervals["lung_attention_excess"] = excess
    level = {True: "good", False: "bad", None: "unknown"}[attention.above_chance]
    flags = [Flag(level, attention.text)]  # type: ignore[arg-type]
    rows: list[list[Any]] = [
        [words, interval_text(intervals[name], signed=name == "lung_attention_excess")]
        for name, words in _NAMES.items()
        if name in intervals
    ]
    table = Table(
        f"Means over {int(both.sum())} films of {same.patients} patients", ["Figure", "Value"], rows,
        reasons_note(intervals, _NAMES),
    )  # fmt: skip
    if draw_attention(pfs, area, folder / "figures" / "attention.png"):
        alt = "PFS of each film against the share of it that is lung"
        pictures.insert(0, Picture("figures/attention.png", alt, "Films on the line have as much saliency in the lungs "
                                   "as chance would give."))  # fmt: skip
    method = checks.get("saliency_method")
    text = [
        ("Saliency is of the predicted class" + (f", by {method}. " if method else ". "))
        + _LUNGS.get(str(checks.get("lung_mask_from")), _lungs(checks.get("lung_mask_from"))),
        "Always read PFS beside the lung area: on a film that is half lung, a map that knew nothing has half of its "
        "saliency there. Saliency shows where a network looks, not what it makes of it.",
    ]
    missed = len(test.items) - int(both.sum())
    if missed:
        text.append(f"{missed} of {len(test.items)} test films have no such figure.")
    return Findings(
        Section("attention", "Lung attention", text, flags, [table], pictures),
        flat_metrics(intervals),
        missing_figures(intervals),
    )


def _lungs(origin: Any) -> str:
    return f"The lungs come from: {origin}." if origin else _UNSAID
