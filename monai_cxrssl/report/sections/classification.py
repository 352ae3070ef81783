# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on classification: ranking, operating points chosen on validation films, confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.metrics.confusion import confusion_figures, confusion_matrix
from monai_cxrssl.metrics.operating_point import OperatingPoint, choose_thresholds, operating_point_figures
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.metrics.ranking import ranking_figures
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, number_or_none, reasons_note
from monai_cxrssl.report.plots.confusion import draw_confusion
from monai_cxrssl.report.plots.ranking import draw_ranking

__all__ = ["OPERATING_POINTS", "classification_findings", "operating_points"]

#: Prefix of the figures, rule, target and name of each operating point; the first is the one that the criteria read.
OPERATING_POINTS = (
    ("", "youden", 0.9, "highest sensitivity + specificity (Youden)"),
    ("sens90_", "sensitivity", 0.9, "sensitivity of 0.9 or more on validation"),
    ("spec90_", "specificity", 0.9, "specificity of 0.9 or more on validation"),
)
_SHOWN = ("sensitivity", "specificity", "ppv", "npv")
_HEADINGS = ("Sensitivity", "Specificity", "PPV", "NPV")
#: In a table of their own, since a page is not wide enough.
_AGREEMENT = {
    "f1": "F1, Youden",
    "kappa": "Kappa, Youden",
    "sens90_f1": "F1, sensitivity 0.9",
    "spec90_f1": "F1, specificity 0.9",
}


def operating_points(films: Films, validation: Films | None, rule: str, target: float) -> list[OperatingPoint]:
    """Choose a threshold per class on validation films; without these there are none, only the reason."""
    nan = float("nan")
    if validation is None or not validation.items:
        reason = "operating points are chosen on validation films only, and there are none"
        return [OperatingPoint(nan, rule, target, nan, nan, reason) for _ in films.classes]
    return choose_thresholds(validation.cohort, rule, target)


def classification_findings(
    test: Films, validation: Films | None, folder: Path, plan: ResamplingPlan = DEFAULT_PLAN
) -> Findings:
    """Make the section.

    Figures: ``macro_auc``, ``auc_<class>``, ``macro_ap``, ``ap_<class>``; ``sensitivity_<class>`` and so on at the
    Youden threshold, with ``sens90_`` and ``spec90_`` in front at the other two; ``threshold_<class>``;
    ``lowest_sensitivity``; for multi_class ``accuracy``, ``kappa``, ``macro_f1``; ``smallest_class_patients``.

    Args:
        test: what to assess.
        validation: what thresholds are chosen on; None: not assessable.
        folder: of the report; pictures go to ``figures`` in it.
        plan: of the bootstrap.
    """
    why = test.why_no_classes()
    if why:
        keys = ("macro_auc", "macro_auc_ci_low", "lowest_sensitivity", "lowest_sensitivity_ci_low")
        section = Section("classification", "Classification", [], [Flag("unknown", f"Not assessable: {why}.")])
        return Findings(section, {}, dict.fromkeys((*keys, "smallest_class_patients"), why))
    ranking = ranking_figures(test.cohort, plan)
    points = {prefix: operating_points(test, validation, rule, target) for prefix, rule, target, _ in OPERATING_POINTS}
    figures: dict[str, Any] = {"smallest_class_patients": _smallest_class(test)}
    intervals = dict(ranking)
    tables = [_ranking_table(test, ranking)]
    flags = [_ranking_flag(ranking["macro_auc"])]
    for prefix, _, _, words in OPERATING_POINTS:
        found = operating_point_figures(test.cohort, points[prefix], plan)
        intervals |= {prefix + key: interval for key, interval in found.items()}
        tables.append(_point_table(test.classes, points[prefix], found, words))
        figures |= {
            f"{prefix}threshold_{name}": point.threshold
            for name, point in zip(test.classes, points[prefix], strict=True)
        }
    tables.append(_agreement_table(test.classes, intervals))
    lowest = _lowest(test.classes, intervals)
    intervals["lowest_sensitivity"] = lowest
    if not np.isfinite(lowest.value):
        flags.append(Flag("unknown", f"The lowest class sensitivity is not assessable: {lowest.reason}."))
    pictures = []
    if any(np.isfinite(ranking[f"auc_{name}"].value) for name in test.classes):
        draw_ranking(test.cohort, folder / "figures" / "ranking.png", points[""])
        alt = "ROC curves and precision-recall curves of the classes"
        caption = (
            "ROC and precision-recall curves on the test films; the marks are the Youden thresholds of validation."
        )
        pictures.append(Picture("figures/ranking.png", alt, caption))
    if test.task == "multi_class":
        decided = confusion_figures(test.cohort, plan)
        intervals |= decided
        tables.append(_decision_table(decided))
        matrix = confusion_matrix(test.cohort)
        if np.isfinite(matrix).all() and not decided["accuracy"].reason:
            draw_confusion(matrix, test.classes, folder / "figures" / "confusion.png")
            alt = "Confusion matrix of the most probable class"
            pictures.append(Picture("figures/confusion.png", alt, "True classes (rows) by the most probable class."))
    text = [
        "Every figure is of the test films, with its 95 % interval from resampled patients, drawn within strata of "
        f"their rarest class ({plan.resamples} resamples, seed {plan.seed}). Classes count one against the rest. "
        "Thresholds were chosen on validation films; PPV and NPV hold at the prevalence of these films only."
    ]
    figures |= flat_metrics(intervals)
    return Findings(
        Section("classification", "Classification", text, flags, tables, pictures), figures, missing_figures(intervals)
    )


def _smallest_class(test: Films) -> int:
    return min(len(np.unique(test.cohort.patients[column == 1])) for column in test.cohort.labels.T)


def _lowest(classes: list[str], intervals: dict[str, Interval]) -> Interval:
    """The lowest sensitivity of all classes; one that is not known may be the lowest, so then there is none."""
    each = {name: intervals[f"sensitivity_{name}"] for name in classes}
    for name, interval in each.items():
        if not np.isfinite(interval.value):
            nan = float("nan")
            return Interval(nan, nan, nan, 0, f"of the class {name}, {interval.reason}")
    return min(each.values(), key=lambda interval: interval.value)


def _ranking_flag(macro: Interval) -> Flag:
    if not np.isfinite(macro.value):
        return Flag("unknown", f"Discrimination is not assessable: {macro.reason}.")
    shown = f"macro AUROC {interval_text(macro)}, chance 0.5"
    if number_or_none(macro.ci_low) is None:
        return Flag("unknown", f"Whether the model ranks better than chance is not known: {shown}.")
    if macro.ci_low <= 0.5:
        return Flag("bad", f"The model does not rank films better than chance: {shown}.")
    return Flag("good", f"The model ranks films better than chance: {shown}.")


def _ranking_table(test: Films, ranking: dict[str, Interval]) -> Table:
    rows: list[list[Any]] = []
    for c, name in enumerate(test.classes):
        positive = test.cohort.labels[:, c] == 1
        rows.append(
            [
                name,
                int(positive.sum()),
                len(np.unique(test.cohort.patients[positive])),
                int((test.cohort.labels[:, c] == 0).sum()),
                interval_text(ranking[f"auc_{name}"]),
                interval_text(ranking[f"ap_{name}"]),
            ]
        )
    rows.append(["Macro", "", "", "", interval_text(ranking["macro_auc"]), interval_text(ranking["macro_ap"])])
    columns = ["Class", "Positive films", "Positive patients", "Negative films", "AUROC", "Average precision"]
    return Table("Ranking", columns, rows, reasons_note(ranking))


def _point_table(classes: list[str], points: list[OperatingPoint], found: dict[str, Interval], words: str) -> Table:
    rows: list[list[Any]] = [
        [name, number_or_none(point.threshold), *(interval_text(found[f"{figure}_{name}"]) for figure in _SHOWN)]
        for name, point in zip(classes, points, strict=True)
    ]
    rows.append(["Macro", "", *(interval_text(found[f"macro_{figure}"]) for figure in _SHOWN)])
    note = reasons_note({key: interval for key, interval in found.items() if not key.startswith("macro_")})
    return Table(f"At the threshold of {words}", ["Class", "Threshold", *_HEADINGS], rows, note)


def _agreement_table(classes: list[str], intervals: dict[str, Interval]) -> Table:
    """F1 and Cohen's kappa at the thresholds; a prefix goes in front of the whole name of a figure."""

    def cells(name: str) -> list[Any]:
        split = [key.rpartition("_") for key in _AGREEMENT]
        macro = [f"{prefix}{line}macro_{figure}" for prefix, line, figure in split]
        keys = macro if not name else [f"{key}_{name}" for key in _AGREEMENT]
        return [interval_text(intervals[key]) for key in keys]

    rows: list[list[Any]] = [[name, *cells(name)] for name in classes]
    rows.append(["Macro", *cells("")])
    note = "Cohen's kappa at the other two thresholds stands in metrics.json."
    return Table("F1 and Cohen's kappa at these thresholds", ["Class", *_AGREEMENT.values()], rows, note)


def _decision_table(decided: dict[str, Interval]) -> Table:
    names = {"accuracy": "Accuracy", "kappa": "Cohen's kappa", "macro_f1": "Macro F1"}
    rows: list[list[Any]] = [[words, interval_text(decided[key])] for key, words in names.items()]
    return Table(
        "Of the most probable class", ["Figure", "Value"], rows, reasons_note({key: decided[key] for key in names})
    )
