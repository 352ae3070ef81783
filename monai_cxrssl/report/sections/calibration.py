# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Section on calibration."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.files import write_json
from monai_cxrssl.metrics.calibration import ReliabilityDiagram, calibration_figures, reliability_diagram, top_label
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.patient_bootstrap import Interval
from monai_cxrssl.metrics.temperature import apply_temperature, fit_temperature, negative_log_likelihood
from monai_cxrssl.report.content import Section
from monai_cxrssl.report.findings import Evidence, Films, Findings, interval_text
from monai_cxrssl.report.plots.reliability import draw_reliability

__all__ = ["calibration_findings", "fitted_temperature"]

#: Ends of the range of :func:`~monai_cxrssl.metrics.fit_temperature`.
_ENDS = (0.05, 20.0)
_NAMES = {
    "macro_ece_width": "Macro ECE, equal width",
    "macro_ece_mass": "Macro ECE, equal mass",
    "macro_brier": "Macro Brier score",
    "top_label_ece_width": "ECE of the most probable class, equal width",
    "top_label_ece_mass": "ECE of the most probable class, equal mass",
}


def fitted_temperature(validation: Films | None) -> tuple[float, str]:
    """Return the temperature fitted on validation images, or NaN and why there is none, as half a sentence."""
    nan = float("nan")
    if validation is None or not validation.items:
        return nan, "the temperature is fitted on validation images only, and there are none"
    why = validation.why_no_classes()
    if why:
        return nan, f"of the validation images, {why}"
    temperature = fit_temperature(validation.cohort.scores, validation.cohort.label, validation.task)
    if np.isfinite(temperature):
        return temperature, ""
    return nan, (
        "no temperature can be fitted on the validation images: their labels are of one kind, or their scores are "
        "equal or no finite numbers"
    )


def calibration_findings(evidence: Evidence) -> Findings:
    """Make the section, and write ``temperature.json`` where a temperature was fitted.

    Figures: those of :func:`~monai_cxrssl.metrics.calibration_figures`, with ``scaled_`` in front after scaling;
    ``temperature``; ``nll`` and ``scaled_nll``; and ``ece`` and ``ece_scaled``, which the criteria read: of the most
    probable class (multi_class) or the mean over the classes (multi_label), in bins of equally many images.
    """
    findings, test, validation = Findings(Section("calibration", "Calibration")), evidence.test, evidence.validation
    if why := test.why_no_classes():
        return findings.not_assessable(why, ("ece", "ece_scaled"))
    cohort = test.cohort
    before = calibration_figures(cohort, evidence.plan)
    main = "top_label_ece_mass" if test.task == "multi_class" else "macro_ece_mass"
    intervals = {**before, "ece": before[main]}
    temperature, why_not = fitted_temperature(validation)
    likelihood = negative_log_likelihood(cohort.scores, cohort.label, test.task)
    findings.figures |= {"temperature": temperature, "nll": likelihood}
    diagrams, after = {"before": _diagram(cohort)}, {}
    findings.text(
        "Of images with a probability of 0.8, eight in ten should have the finding. ECE is the mean distance from "
        "that, in 15 bins of equal width or of equally many images (equal mass); the Brier score is the mean square of "
        "probability minus label. Both are better when lower."
    )
    # A table of before must not stay where this run fits none.
    (evidence.folder / "temperature.json").unlink(missing_ok=True)
    if why_not or validation is None:
        findings.flag("unknown", f"Calibration after temperature scaling is not assessable: {why_not}.")
        findings.missing |= dict.fromkeys(("temperature", "ece_scaled", "ece_scaled_ci_low", "scaled_nll"), why_not)
    else:
        scaled = cohort.with_scores(apply_temperature(cohort.scores, temperature, test.task))
        after = calibration_figures(scaled, evidence.plan)
        intervals |= {f"scaled_{key}": interval for key, interval in after.items()} | {"ece_scaled": after[main]}
        findings.figures["scaled_nll"] = negative_log_likelihood(scaled.scores, scaled.label, test.task)
        diagrams["after"] = _diagram(scaled)
        fitted = {"temperature": temperature, "task": test.task, "classes": test.classes, "fitted_on": "validation"}
        fitted |= {"images": len(validation.items), "patients": validation.patients}
        write_json(fitted, evidence.folder / "temperature.json")
        if np.isclose(temperature, _ENDS, rtol=1e-3).any():
            findings.flag(
                "warning",
                f"The temperature is at the end of its range, {temperature:.3g}: the validation images are separated "
                "perfectly, or not at all. Do not use it; fit it on more images.",
            )
        _flag_effect(findings, before[main], after[main], temperature)
        unchanged = "the most probable class" if test.task == "multi_class" else "any AUROC"
        findings.text(
            f"Temperature scaling divides the logits by {temperature:.4g}, fitted on {len(validation.items)} "
            f"validation images; it is kept in temperature.json. It does not change {unchanged}."
        )
    columns = ["Figure", "Before scaling", "After scaling"]
    rows = [[words, before[key], after.get(key)] for key, words in _NAMES.items() if key in before]
    findings.table("Calibration", columns, rows, before)
    if len(test.classes) > 1:
        columns = ["Class", "ECE before", "ECE after", "Brier before", "Brier after"]
        sides = [(kind, part) for kind in ("ece_mass", "brier") for part in (before, after)]
        rows = [[name, *(part.get(f"{kind}_{name}") for kind, part in sides)] for name in test.classes]
        findings.table("Calibration by class (ECE of equal mass)", columns, rows)
    usable = {name: diagram for name, diagram in diagrams.items() if not diagram.reason}
    if usable:
        draw_reliability(usable, evidence.picture_path("reliability.png"))
        of_what = "the most probable class" if test.task == "multi_class" else "all classes taken together"
        alt = "Reliability diagram: observed frequency against mean probability"
        findings.picture("reliability.png", alt, f"Reliability of {of_what} on the test images.")
    findings.intervals(intervals)
    if not np.isfinite(likelihood):
        findings.missing["nll"] = "some scores are not finite numbers"
    return findings


def _diagram(cohort: Cohort) -> ReliabilityDiagram:
    if cohort.numbers is not None:
        # An image with one score that is no number has no most probable class; NaN stays NaN in the maximum.
        return reliability_diagram(*top_label(cohort), both_kinds=False, patient=cohort.patients)
    patients = np.repeat(cohort.patients, len(cohort.classes))
    return reliability_diagram(cohort.scores.ravel(), cohort.labels.ravel(), patient=patients)


def _flag_effect(findings: Findings, before: Interval, after: Interval, temperature: float) -> None:
    if not np.isfinite(after.value):
        return findings.flag("unknown", f"Calibration is not assessable: {after.reason}.")
    sure = (
        "too sure" if temperature > 1.02 else "not sure enough" if temperature < 0.98 else "about as sure as it may be"
    )
    findings.flag(
        "good" if after.value <= before.value else "warning",
        f"The model is {sure} (temperature {temperature:.3g}); the calibration error goes from {before.value:.3f} to "
        f"{interval_text(after)} by scaling.",
    )
    return None
