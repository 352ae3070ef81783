# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Section on shortcuts: blanked regions and data source.

The rule for the lungs, on the macro AUROC: the model reads something outside the lungs (bad) if, with the lungs
blanked, the interval lies above 0.5, and either the figure lies above :data:`KEPT` or the drop is not shown (its
interval holds 0). Above 0.5 but not above :data:`KEPT`, with a drop that is shown, is a warning. An interval that holds
0.5 is good if the figure is at most :data:`KEPT`, else the images are too few to tell. A model that is not above chance
on whole images tells nothing.

The rule for the other regions: a drop whose interval lies above 0 is a warning, else it is good. It is bad for corners
and border if no more than :data:`KEPT` is left. A smaller drop alone proves no shortcut: a network also loses on images
that look like none that it has seen, and blanking everything but the lungs takes the outline of the body as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.metrics.patient_bootstrap import Interval, flat_metrics, missing_interval
from monai_cxrssl.metrics.ranking import compare_auc
from monai_cxrssl.report.content import Flag, Section
from monai_cxrssl.report.findings import Evidence, Findings, films_of, interval_text
from monai_cxrssl.report.paired import match_films
from monai_cxrssl.report.plots.intervals import IntervalRow, draw_probes, interval_row

__all__ = ["KEPT", "probe_flag", "shortcut_findings"]

#: Macro AUROC that images without lungs may keep by chance and by findings beyond the lungs; as in the criteria.
KEPT = 0.6
_WORDS = {
    "lungs": "Lungs blanked",
    "outside_lungs": "All but the lungs blanked",
    "corners": "Corners blanked",
    "border": "Border blanked",
}


def probe_flag(region: str, whole: Interval, blanked: Interval, drop: Interval) -> Flag:
    """Say in words what a probe shows by the rule above; the drop, whole minus blanked macro AUROC, is paired."""
    words = _WORDS[region]
    for interval in (whole, blanked, drop):
        if not np.isfinite(interval.ci_low):
            reason = interval.reason or "there is no interval"
            return Flag("unknown", f"{words}: not assessable, since {reason}.")
    if whole.ci_low <= 0.5:
        return Flag("unknown", f"{words}: the model is not above chance on whole images, so the probe shows nothing.")
    shown = (
        f"macro AUROC {interval_text(blanked)} instead of {whole.value:.3f}, drop {interval_text(drop, signed=True)}"
    )
    if region == "lungs":
        if blanked.ci_low > 0.5 and (blanked.value > KEPT or drop.ci_low <= 0):
            return Flag(
                "bad", f"Lungs blanked: the score stays high, so the model reads something outside the lungs ({shown})."
            )
        if blanked.ci_low > 0.5:
            return Flag("warning", f"Lungs blanked: the score falls, but stays above chance ({shown}).")
        if blanked.value > KEPT:
            return Flag("unknown", f"Lungs blanked: too few patients to tell whether the score stays high ({shown}).")
        return Flag("good", f"Lungs blanked: the score falls to chance, as it should ({shown}).")
    if drop.ci_low <= 0:
        return Flag("good", f"{words}: no loss is shown, so the score does not need that part of the image ({shown}).")
    if region == "outside_lungs":
        return Flag(
            "warning",
            f"{words}: the score falls, so the model uses what lies outside the lungs, or misses the usual look of a "
            f"image ({shown}).",
        )
    if blanked.value <= KEPT:
        return Flag("bad", f"{words}: little is left, so the model reads the {region}, where markers are ({shown}).")
    return Flag(
        "warning",
        f"{words}: the score falls, so the model uses the {region}, where markers are, or misses the usual look of a "
        f"image ({shown}).",
    )


def shortcut_findings(evidence: Evidence) -> Findings:
    """Make the section.

    Figures: ``<region>_blanked_macro_auc``, ``<region>_blanked_drop`` and ``<region>_whole_macro_auc``, of the same
    images and classes, and ``source_macro_auc``.
    """
    findings = Findings(Section("shortcuts", "Shortcut probes"))
    findings.text(
        "A part of each image is filled with the mean of the rest, and the model scores it again. A model of lung "
        "disease should know nothing once the lungs are gone, and lose nothing with corners and border, where markers "
        "are. Each row compares the same images with their whole selves, class by class where both can be assessed."
    )
    # The products of sparse matrices, which take the time, leave the interpreter's lock.
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="probes") as pool:
        probes = dict(zip(_WORDS, pool.map(lambda region: _probe(evidence, region), _WORDS), strict=True))
    rows, drawn = [], list[IntervalRow]()
    for region, (whole, blanked, drop, films) in probes.items():
        words = _WORDS[region]
        findings.intervals(
            {f"{region}_blanked_macro_auc": blanked, f"{region}_blanked_drop": drop, f"{region}_whole_macro_auc": whole}
        )
        findings.section.flags.append(probe_flag(region, whole, blanked, drop))
        rows.append([words, films, whole, blanked, interval_text(drop, signed=True)])
        if not drawn and np.isfinite(whole.value):
            drawn.append(interval_row("Whole images", whole))
        if np.isfinite(blanked.value):
            drawn.append(interval_row(words, blanked))
    note = {_WORDS[region]: blanked for region, (_, blanked, _, _) in probes.items()}
    findings.table("Macro AUROC", ["Probe", "Images", "Whole images", "Blanked", "Drop"], rows, note)
    if drawn and draw_probes(drawn, evidence.picture_path("probes.png")):
        alt = "Macro AUROC on whole images and with each region blanked, with intervals"
        findings.picture("probes.png", alt, "What is left of the score when a region is blanked.")
    _source(findings, evidence.model.source_prediction or {})
    return findings


def _probe(evidence: Evidence, region: str) -> tuple[Interval, Interval, Interval, int]:
    """Macro AUROC of whole images, of blanked ones, their difference, and how many images."""
    test, predictions = evidence.test, evidence.model.blanked.get(region)
    if (why := test.why_no_classes()) or predictions is None:
        nothing = missing_interval(why or "the evaluation did not make this probe")
        return nothing, nothing, nothing, 0
    blanked = films_of(predictions)
    here, there = match_films(test.items, blanked.items)
    if not len(here) or blanked.classes != test.classes:
        why = "the blanked images were scored for other classes"
        if not len(here):
            why = "no test image was scored with this region blanked: the lungs are not known"
        nothing = missing_interval(why)
        return nothing, nothing, nothing, 0
    paired = compare_auc(test.cohort.take(here), blanked.cohort.scores[there], evidence.plan)
    whole, gone, drop = (side["macro_auc"] for side in paired)
    if drop.reason:
        # Why no class can be assessed says more than that none can.
        reason = next((side.reason for key, side in paired[2].items() if key != "macro_auc"), "")
        whole = gone = drop = missing_interval(reason or drop.reason)
    return whole, gone, drop, len(here)


def _source(findings: Findings, prediction: Mapping[str, Any]) -> None:
    """Add whether the data source can be read off the features."""
    macro = _interval(prediction.get("macro_auc"))
    untried = "Not assessable: the evaluation did not try to predict the source."
    told = prediction.get("text") or (untried if macro is None else "")
    text = f"Data source, from the model's features. {told}".strip()
    if macro is None:
        findings.flag("unknown", text)
        findings.missing["source_macro_auc"] = text.rpartition("Not assessable: ")[2].rstrip(".")
        return
    findings.flag("warning" if macro.ci_low > 0.5 else "good", text)
    findings.figures |= flat_metrics({"source_macro_auc": macro})
    films = prediction.get("images") or {}
    rows = [[str(name), films.get(name), _interval(area)] for name, area in (prediction.get("auc") or {}).items()]
    findings.table(
        "How well a linear classifier reads the source off the features",
        ["Source", "Images", "AUROC"],
        [*rows, ["Macro", "", macro]],
        "Chance is 0.5. Sources that differ in their patients differ in features that matter, too.",
    )


def _interval(content: Any) -> Interval | None:
    """A figure of ``source_prediction.json``; None without a number."""
    told = content if isinstance(content, Mapping) else {}
    ends = [told.get(end) for end in ("value", "ci_low", "ci_high")]
    value, low, high = (math.nan if end is None else end for end in ends)
    return Interval(value, low, high, 0, method=told.get("method", "")) if math.isfinite(value) else None
