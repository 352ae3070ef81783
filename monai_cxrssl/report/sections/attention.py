# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Section on lung attention."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.metrics.patient_bootstrap import missing_interval
from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Findings, interval_text
from monai_cxrssl.report.plots.attention import draw_attention
from monai_cxrssl.report.sections.segmentation import measure_interval

__all__ = ["attention_findings"]

_NAMES = {
    "pfs": "Positive fraction of saliency (PFS): share of the saliency that lies on the lungs",
    "lung_area": "Share of the image that the lungs take: the PFS of chance",
    "lung_attention_excess": "PFS minus lung area",
    "pfs_grad_cam": "PFS of Grad-CAM on the last, coarse feature map, to stand beside",
    "pointing": "Pointing game: images whose highest saliency lies on the lungs (chance: the lung area)",
    "saliency_iou": "IoU of the lungs and the most salient fifth of the image",
}
_LUNGS = {
    "mask and model": "The lungs are those of the masks of the data set; where an image has none, those that the model "
    "itself segments.",
    "mask": "The lungs are those of the masks of the data set.",
    "model": "The lungs are those that the model itself segments, so a wrong segmentation makes these figures wrong.",
}


def attention_findings(evidence: Evidence) -> Findings:
    """Make the section.

    Figures: the means ``pfs``, ``lung_area``, ``pointing`` and ``saliency_iou``, and ``lung_attention_excess``, the
    mean of PFS minus lung area.
    """
    findings, test = Findings(Section("attention", "Lung attention")), evidence.test
    none = np.full(len(test.items), np.nan)
    pfs, area = test.measures.get("pfs", none), test.measures.get("lung_area", none)
    both = np.isfinite(pfs) & np.isfinite(area)
    if both.any():
        _add_figures(findings, evidence, pfs, area, both)
    else:
        why = "no image has both a saliency map and lungs: give lung masks, or a model that segments the lungs"
        keys = ("pfs", "lung_area", "lung_attention_excess", "lung_attention_excess_ci_low")
        findings.not_assessable(why, keys, "Lung attention is not assessable")
    if "attention" in evidence.pictures:
        findings.section.pictures.append(evidence.pictures["attention"])
    return findings


def _add_figures(findings: Findings, evidence: Evidence, pfs: np.ndarray, area: np.ndarray, both: np.ndarray) -> None:
    from monai_cxrssl.metrics.lung_attention import attention_above_chance

    test, checks = evidence.test, evidence.model.checks
    attention = attention_above_chance(pfs, area, test.cohort.patients, plan=evidence.plan)
    # Figures beside each other have to be of the same images.
    same = test.take(both)
    intervals = {name: measure_interval(same, name, evidence.plan) for name in _NAMES if name in test.measures}
    excess = attention.difference
    if attention.above_chance is None:
        excess = missing_interval(attention.text.removeprefix("Not assessable: ").rstrip("."))
    intervals["lung_attention_excess"] = excess
    findings.flag(
        "unknown" if attention.above_chance is None else "good" if attention.above_chance else "bad", attention.text
    )
    rows = [
        [words, interval_text(intervals[name], signed=name == "lung_attention_excess")]
        for name, words in _NAMES.items()
        if name in intervals
    ]
    caption = f"Means over {int(both.sum())} images of {same.patients} patients"
    findings.table(caption, ["Figure", "Value"], rows, {_NAMES[name]: interval for name, interval in intervals.items()})
    if draw_attention(pfs, area, evidence.picture_path("attention.png")):
        alt = "PFS of each image against the share of it that is lung"
        findings.picture(
            "attention.png", alt, "Images on the line have as much saliency in the lungs as chance would give."
        )
    origin, method = checks.get("lung_mask_from"), checks.get("saliency_method")
    other = f"The lungs come from: {origin}." if origin else "Where the lungs come from was not said by the evaluation."
    by = checks.get("lung_masks_drawn_by")
    drawn = f" Images without one were given a mask drawn by {', '.join(by)} (--lung_masks)." if by else ""
    findings.text(
        f"Saliency is of the predicted class{f', by {method}' * bool(method)}. {_LUNGS.get(str(origin), other)}{drawn}",
        "Always read PFS beside the lung area: on an image that is half lung, a map that knew nothing has half of its "
        "saliency there. Saliency shows where a network looks, not what it makes of it.",
    )
    missed = len(test.items) - int(both.sum())
    if missed:
        findings.text(f"{missed} of {len(test.items)} test images have no such figure.")
    findings.intervals(intervals)
