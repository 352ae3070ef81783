# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report section on classification: AUROC, operating points, confusion matrix."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.confusion import confusion_figures, confusion_matrix
from monai_cxrssl.metrics.operating_point import OperatingPoint, choose_thresholds, operating_point_figures
from monai_cxrssl.metrics.patient_bootstrap import Interval, missing_interval
from monai_cxrssl.metrics.ranking import ranking_figures
from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Films, Findings, interval_text
from monai_cxrssl.report.plots.confusion import draw_confusion
from monai_cxrssl.report.plots.ranking import draw_ranking

__all__ = ["OPERATING_POINTS", "classification_findings", "operating_points"]

#: Prefix of the figures, rule, target and name of each operating point; the first is the one that the criteria read.
OPERATING_POINTS = (
    ("", "youden", 0.9, "highest sensitivity + specificity (Youden)"),
    ("sens90_", "sensitivity", 0.9, "sensitivity of 0.9 or more on validation"),
    ("spec90_", "specificity", 0.9, "specificity of 0.9 or more on validation"),
)
_AT_A_POINT = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
#: In a table of their own, since a page is not wide enough.
_AGREEMENT = {
    "f1": "F1, Youden",
    "kappa": "Kappa, Youden",
    "sens90_f1": "F1, sensitivity 0.9",
    "spec90_f1": "F1, specificity 0.9",
}
_DECISION = {"accuracy": "Accuracy", "kappa": "Cohen's kappa", "macro_f1": "Macro F1"}


def operating_points(films: Films, validation: Films | None, rule: str, target: float) -> list[OperatingPoint]:
    """Choose a threshold per class on validation images; without these there are none, only the reason."""
    nan = float("nan")
    if validation is None or not validation.items:
        reason = "operating points are chosen on validation images only, and there are none"
        return [OperatingPoint(nan, rule, target, nan, nan, reason) for _ in films.classes]
    return choose_thresholds(validation.cohort, rule, target)


def classification_findings(evidence: Evidence) -> Findings:
    """Make the section.

    Figures: ``macro_auc``, ``auc_<class>``, ``macro_ap``, ``ap_<class>``; ``sensitivity_<class>`` and so on at the
    Youden threshold, with ``sens90_`` and ``spec90_`` in front at the other two; ``threshold_<class>``;
    ``lowest_sensitivity``; for multi_class ``accuracy``, ``kappa``, ``macro_f1``; ``smallest_class_patients``.
    """
    findings, test = Findings(Section("classification", "Classification")), evidence.test
    if why := test.why_no_classes():
        keys = ("macro_auc", "macro_auc_ci_low", "lowest_sensitivity", "lowest_sensitivity_ci_low")
        return findings.not_assessable(why, (*keys, "smallest_class_patients"))
    cohort, plan = test.cohort, evidence.plan
    ranking = ranking_figures(cohort, plan)
    intervals = dict(ranking)
    counts = [_counts(cohort, c) for c in range(len(test.classes))]
    findings.figures["smallest_class_patients"] = min(patients for _, patients, _ in counts)
    columns = ["Class", "Positive images", "Positive patients", "Negative images", "AUROC", "Average precision"]
    findings.table("Ranking", columns, _rows(test.classes, counts, intervals, ("auc", "ap")), ranking)
    _flag_ranking(findings, ranking["macro_auc"])
    validation = evidence.validation
    points = {start: operating_points(test, validation, rule, target) for start, rule, target, _ in OPERATING_POINTS}
    for prefix, _, _, words in OPERATING_POINTS:
        found = operating_point_figures(cohort, points[prefix], plan)
        intervals |= {prefix + key: interval for key, interval in found.items()}
        thresholds = dict(zip(test.classes, [point.threshold for point in points[prefix]], strict=True))
        findings.figures |= {f"{prefix}threshold_{name}": threshold for name, threshold in thresholds.items()}
        rows = _rows(
            test.classes,
            [[threshold] for threshold in thresholds.values()],
            intervals,
            [prefix + figure for figure in _AT_A_POINT],
        )
        note = {key: interval for key, interval in found.items() if not key.startswith("macro_")}
        findings.table(f"At the threshold of {words}", ["Class", "Threshold", *_AT_A_POINT.values()], rows, note)
    findings.table(
        "F1 and Cohen's kappa at these thresholds",
        ["Class", *_AGREEMENT.values()],
        _rows(test.classes, [[] for _ in test.classes], intervals, _AGREEMENT),
        "Cohen's kappa at the other two thresholds stands in metrics.json.",
    )
    lowest = intervals["lowest_sensitivity"] = _lowest(test.classes, intervals)
    if not np.isfinite(lowest.value):
        findings.flag("unknown", f"The lowest class sensitivity is not assessable: {lowest.reason}.")
    if any(np.isfinite(ranking[f"auc_{name}"].value) for name in test.classes):
        draw_ranking(cohort, evidence.picture_path("ranking.png"), points[""])
        caption = (
            "ROC and precision-recall curves on the test images; the marks are the Youden thresholds of validation."
        )
        findings.picture("ranking.png", "ROC curves and precision-recall curves of the classes", caption)
    if test.task == "multi_class":
        decided = confusion_figures(cohort, plan)
        intervals |= decided
        shown = {key: decided[key] for key in _DECISION}
        rows = [[words, shown[key]] for key, words in _DECISION.items()]
        findings.table("Of the most probable class", ["Figure", "Value"], rows, shown)
        matrix = confusion_matrix(cohort)
        if np.isfinite(matrix).all() and not decided["accuracy"].reason:
            draw_confusion(matrix, test.classes, evidence.picture_path("confusion.png"))
            alt = "Confusion matrix of the most probable class"
            findings.picture("confusion.png", alt, "True classes (rows) by the most probable class.")
    findings.text(
        "Every figure is of the test images, with its 95 % interval over patients: of an AUROC by DeLong's variance "
        "over patients, of a share by Wilson's interval at the effective number of patients, of the others from "
        f"patients drawn within strata of their rarest class ({plan.resamples} resamples, seed {plan.seed}). "
        "metrics.json names the method of each. Classes count one against the rest. Thresholds were chosen on "
        "validation images; PPV and NPV hold at the prevalence of these images only."
    )
    findings.intervals(intervals)
    return findings


def _counts(cohort: Cohort, column: int) -> tuple[int, int, int]:
    """Positive images of a class, their patients, and negative images."""
    labels = cohort.labels[:, column]
    return int((labels == 1).sum()), len(np.unique(cohort.patients[labels == 1])), int((labels == 0).sum())


def _rows(
    classes: Sequence[str], leading: Sequence[Sequence[Any]], intervals: dict[str, Interval], keys: Collection[str]
) -> list[list[Any]]:
    """A row per class, with its leading cells, and one of the macro figures."""
    split = [key.rpartition("_") for key in keys]
    rows: list[list[Any]] = [
        [name, *cells, *(intervals[f"{key}_{name}"] for key in keys)]
        for name, cells in zip(classes, leading, strict=True)
    ]
    # The prefix of an operating point goes in front of the whole name of a figure.
    macro = [intervals[f"{prefix}{line}macro_{figure}"] for prefix, line, figure in split]
    return [*rows, ["Macro", *[""] * len(leading[0]), *macro]]


def _lowest(classes: list[str], intervals: dict[str, Interval]) -> Interval:
    """The lowest sensitivity of all classes; one that is not known may be the lowest, so then there is none."""
    each = {name: intervals[f"sensitivity_{name}"] for name in classes}
    for name, interval in each.items():
        if not np.isfinite(interval.value):
            return missing_interval(f"of the class {name}, {interval.reason}")
    return min(each.values(), key=lambda interval: interval.value)


def _flag_ranking(findings: Findings, macro: Interval) -> None:
    shown = f"macro AUROC {interval_text(macro)}, chance 0.5"
    if not np.isfinite(macro.value):
        findings.flag("unknown", f"Discrimination is not assessable: {macro.reason}.")
    elif not np.isfinite(macro.ci_low):
        findings.flag("unknown", f"Whether the model ranks better than chance is not known: {shown}.")
    elif macro.ci_low <= 0.5:
        findings.flag("bad", f"The model does not rank images better than chance: {shown}.")
    else:
        findings.flag("good", f"The model ranks images better than chance: {shown}.")
