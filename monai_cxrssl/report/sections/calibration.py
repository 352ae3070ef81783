# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on calibration: reliability, calibration error and Brier score, before and after temperature scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.handlers.model_files import write_json
from monai_cxrssl.metrics.calibration import (
    ReliabilityDiagram,
    calibration_figures,
    reliability_diagram,
    top_label,
)
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.metrics.temperature import apply_temperature, fit_temperature, negative_log_likelihood
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, reasons_note
from monai_cxrssl.report.plots.reliability import draw_reliability

__all__ = ["calibration_findings", "fitted_temperature"]

#: Ends of the range of :func:`~monai_cxrssl.metrics.fit_temperature`.
_ENDS = (0.05, 20.0)


def fitted_temperature(validation: Films | None) -> tuple[float, str]:
    """Return the temperature fitted on validation films, or NaN and why there is none, as half a sentence."""
    nan = float("nan")
    if validation is None or not validation.items:
        return nan, "the temperature is fitted on validation films only, and there are none"
    why = validation.why_no_classes()
    if why:
        return nan, f"of the validation films, {why}"
    temperature = fit_temperature(validation.cohort.scores, validation.cohort.label, validation.task)
    if np.isfinite(temperature):
        return temperature, ""
    return nan, (
        "no temperature can be fitted on the validation films: their labels are of one kind, or their scores are equal "
        "or no finite numbers"
    )


def calibration_findings(
    test: Films, validation: Films | None, folder: Path, plan: ResamplingPlan = DEFAULT_PLAN
) -> Findings:
    """Make the section, and write ``temperature.json`` where a temperature was fitted.

    Figures: those of :func:`~monai_cxrssl.metrics.calibration_figures`, with ``scaled_`` in front after scaling;
    ``temperature``; ``nll`` and ``scaled_nll``; and ``ece`` and ``ece_scaled``, which the criteria read: of the most
    probable class (multi_class) or the mean over the classes (multi_label), in bins of equally many films.

    Args:
        test: what to assess.
        validation: what the temperature is fitted on; None: not assessable.
        folder: of the report.
        plan: of the bootstrap.
    """
    why = test.why_no_classes()
    if why:
        section = Section("calibration", "Calibration", [], [Flag("unknown", f"Not assessable: {why}.")])
        return Findings(section, {}, {"ece": why, "ece_scaled": why})
    before = calibration_figures(test.cohort, plan)
    main = "top_label_ece_mass" if test.task == "multi_class" else "macro_ece_mass"
    intervals = {**before, "ece": before[main]}
    temperature, why_not = fitted_temperature(validation)
    likelihood = negative_log_likelihood(test.cohort.scores, test.cohort.label, test.task)
    figures: dict[str, Any] = {"temperature": temperature, "nll": likelihood}
    missing = {"temperature": why_not} if why_not else {}
    flags, diagrams, after = [], {"before": _diagram(test.cohort)}, {}
    # A table of before must not stay where this run fits none.
    (folder / "temperature.json").unlink(missing_ok=True)
    if why_not:
        flags.append(Flag("unknown", f"Calibration after temperature scaling is not assessable: {why_not}."))
        missing |= dict.fromkeys(("ece_scaled", "ece_scaled_ci_low", "scaled_nll"), why_not)
    else:
        assert validation is not None
        scaled = test.cohort.with_scores(apply_temperature(test.cohort.scores, temperature, test.task))
        after = calibration_figures(scaled, plan)
        intervals |= {f"scaled_{key}": interval for key, interval in after.items()} | {"ece_scaled": after[main]}
        figures["scaled_nll"] = negative_log_likelihood(scaled.scores, scaled.label, test.task)
        diagrams["after"] = _diagram(scaled)
        write_json(
            {
                "temperature": temperature,
                "task": test.task,
                "classes": test.classes,
                "fitted_on": "validation",
                "images": len(validation.items),
                "patients": validation.patients,
            },
            folder / "temperature.json",
        )
        if np.isclose(temperature, _ENDS, rtol=1e-3).any():
            flags.append(
                Flag(
                    "warning",
                    f"The temperature is at the end of its range, {temperature:.3g}: the validation films are "
                    "separated perfectly, or not at all. Do not use it; fit it on more films.",
                )
            )
        flags.append(_effect(before[main], after[main], temperature))
    tables = [_table(before, after, test.task)]
    if len(test.classes) > 1:
        tables.append(_class_table(test.classes, before, after))
    pictures = []
    usable = {name: diagram for name, diagram in diagrams.items() if not diagram.reason}
    if usable:
        draw_reliability(usable, folder / "figures" / "reliability.png")
        of_what = "the most probable class" if test.task == "multi_class" else "all classes taken together"
        alt = "Reliability diagram: observed frequency against mean probability"
        pictures.append(Picture("figures/reliability.png", alt, f"Reliability of {of_what} on the test films."))
    text = [
        "Of films with a probability of 0.8, eight in ten should have the finding. ECE is the mean distance from that, "
        "in 15 bins of equal width or of equally many films (equal mass); the Brier score is the mean square of "
        "probability minus label. Both are better when lower.",
    ]
    if not why_not:
        fitted_on = 0 if validation is None else len(validation.items)
        text.append(
            f"Temperature scaling divides the logits by {temperature:.4g}, fitted on {fitted_on} validation films; "
            "it is kept in temperature.json. "
            + (
                "It does not change the most probable class."
                if test.task == "multi_class"
                else "It does not change any AUROC."
            )
        )
    figures |= flat_metrics(intervals)
    missing |= missing_figures(intervals)
    if not np.isfinite(likelihood):
        missing["nll"] = "some scores are not finite numbers"
    return Findings(Section("calibration", "Calibration", text, flags, tables, pictures), figures, missing)


def _diagram(cohort: Cohort) -> ReliabilityDiagram:
    if cohort.numbers is not None:
        # A film with one score that is no number has no most probable class; NaN stays NaN in the maximum.
        return reliability_diagram(*top_label(cohort), both_kinds=False)
    return reliability_diagram(cohort.scores.ravel(), cohort.labels.ravel())


def _effect(before: Interval, after: Interval, temperature: float) -> Flag:
    if not np.isfinite(after.value):
        return Flag("unknown", f"Calibration is not assessable: {after.reason}.")
    sure = (
        "too sure" if temperature > 1.02 else "not sure enough" if temperature < 0.98 else "about as sure as it may be"
    )
    told = (
        f"The model is {sure} (temperature {temperature:.3g}); the calibration error goes from {before.value:.3f} to "
    )
    return Flag("good" if after.value <= before.value else "warning", f"{told}{interval_text(after)} by scaling.")


def _table(before: dict[str, Interval], after: dict[str, Interval], task: str) -> Table:
    names = {"macro_ece_width": "Macro ECE, equal width", "macro_ece_mass": "Macro ECE, equal mass"}
    names["macro_brier"] = "Macro Brier score"
    if task == "multi_class":
        names |= {
            "top_label_ece_width": "ECE of the most probable class, equal width",
            "top_label_ece_mass": "ECE of the most probable class, equal mass",
        }
    rows: list[list[Any]] = [
        [words, interval_text(before[key]), interval_text(after.get(key))] for key, words in names.items()
    ]
    return Table("Calibration", ["Figure", "Before scaling", "After scaling"], rows, reasons_note(before))


def _class_table(classes: list[str], before: dict[str, Interval], after: dict[str, Interval]) -> Table:
    rows: list[list[Any]] = [
        [
            name,
            *(interval_text(part.get(f"{kind}_{name}")) for kind in ("ece_mass", "brier") for part in (before, after)),
        ]
        for name in classes
    ]
    columns = ["Class", "ECE before", "ECE after", "Brier before", "Brier after"]
    return Table("Calibration by class (ECE of equal mass)", columns, rows)
