# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on shortcuts: what the model still knows when a region of the film is blanked, and of its source.

The rule for the lungs, on the macro AUROC: the model reads something outside the lungs (bad) if, with the lungs
blanked, the interval lies above 0.5, and either the figure lies above :data:`KEPT` or the drop is not shown (its
interval holds 0). Above 0.5 but not above :data:`KEPT`, with a drop that is shown, is a warning. An interval that holds
0.5 is good if the figure is at most :data:`KEPT`, else the films are too few to tell. A model that is not above chance
on whole films tells nothing.

The rule for the other regions: a drop whose interval lies above 0 is a warning, else it is good. It is bad for corners
and border if no more than :data:`KEPT` is left. A smaller drop alone proves no shortcut: a network also loses on films
that look like none that it has seen, and blanking everything but the lungs takes the outline of the body as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.metrics.ranking import compare_auc
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.evaluation_files import REGIONS
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, number_or_none, reasons_note
from monai_cxrssl.report.paired import match_films
from monai_cxrssl.report.plots.intervals import draw_probes

__all__ = ["KEPT", "probe_flag", "shortcut_findings"]

#: Macro AUROC that films without lungs may keep by chance and by findings beyond the lungs; as in the criteria.
KEPT = 0.6
_WORDS = {
    "lungs": "Lungs blanked",
    "outside_lungs": "All but the lungs blanked",
    "corners": "Corners blanked",
    "border": "Border blanked",
}


def probe_flag(region: str, whole: Interval, blanked: Interval, drop: Interval) -> Flag:
    """Say in words what a probe shows, by the rule above.

    Args:
        region: that was blanked.
        whole: macro AUROC on the whole films.
        blanked: on the same films with the region blanked.
        drop: the first minus the second, paired.
    """
    words = _WORDS[region]
    for interval in (whole, blanked, drop):
        if number_or_none(interval.ci_low) is None:
            reason = interval.reason or "there is no interval"
            return Flag("unknown", f"{words}: not assessable, since {reason}.")
    if whole.ci_low <= 0.5:
        return Flag("unknown", f"{words}: the model is not above chance on whole films, so the probe shows nothing.")
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
        return Flag("good", f"{words}: no loss is shown, so the score does not need that part of the film ({shown}).")
    if region == "outside_lungs":
        return Flag(
            "warning",
            f"{words}: the score falls, so the model uses what lies outside the lungs, or misses the usual look of a "
            f"film ({shown}).",
        )
    if blanked.value <= KEPT:
        return Flag("bad", f"{words}: little is left, so the model reads the {region}, where markers are ({shown}).")
    return Flag(
        "warning",
        f"{words}: the score falls, so the model uses the {region}, where markers are, or misses the usual look of a "
        f"film ({shown}).",
    )


def shortcut_findings(
    test: Films,
    blanked: Mapping[str, Films],
    source: Mapping[str, Any] | None,
    folder: Path,
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> Findings:
    """Make the section.

    Figures: ``<region>_blanked_macro_auc``, ``<region>_blanked_drop`` and ``<region>_whole_macro_auc``, of the same
    films and classes, and ``source_macro_auc``.

    Args:
        test: whole films.
        blanked: films with a region blanked, by region.
        source: content of ``source_prediction.json``; None without it.
        folder: of the report.
        plan: of the bootstrap.
    """
    intervals: dict[str, Interval] = {}
    flags: list[Flag] = []
    rows: list[list[Any]] = []
    picture: list[tuple[str, float | None, float | None, float | None]] = []
    text = [
        "A part of each film is filled with the mean of the rest, and the model scores it again. A model of lung "
        "disease should know nothing once the lungs are gone, and lose nothing with corners and border, where markers "
        "are. Each row compares the same films with their whole selves, class by class where both can be assessed."
    ]
    # The products of sparse matrices, which take the time, leave the interpreter's lock.
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="probes") as pool:
        probes = list(pool.map(lambda region: _probe(test, blanked.get(region), plan), REGIONS))
    for region, (whole, gone, drop, films) in zip(REGIONS, probes, strict=True):
        found = {
            f"{region}_blanked_macro_auc": gone, f"{region}_blanked_drop": drop, f"{region}_whole_macro_auc": whole,
        }  # fmt: skip
        intervals |= found
        flags.append(probe_flag(region, whole, gone, drop))
        rows.append(
            [_WORDS[region], films, interval_text(whole), interval_text(gone), interval_text(drop, signed=True)]
        )
        if not picture and np.isfinite(whole.value):
            picture.append(("Whole films", whole.value, number_or_none(whole.ci_low), number_or_none(whole.ci_high)))
        if np.isfinite(gone.value):
            picture.append((_WORDS[region], gone.value, number_or_none(gone.ci_low), number_or_none(gone.ci_high)))
    names = {f"{region}_blanked_macro_auc": words for region, words in _WORDS.items()}
    note = reasons_note({key: intervals[key] for key in names}, names)
    tables = [Table("Macro AUROC", ["Probe", "Films", "Whole films", "Blanked", "Drop"], rows, note)]
    pictures = []
    if picture and draw_probes(picture, folder / "figures" / "probes.png"):
        alt = "Macro AUROC on whole films and with each region blanked, with intervals"
        pictures.append(Picture("figures/probes.png", alt, "What is left of the score when a region is blanked."))
    missing = missing_figures(intervals)
    figures = flat_metrics(intervals)
    flag, table = _source(source)
    flags.append(flag)
    macro = _source_interval(source)
    if macro is None:
        missing["source_macro_auc"] = flag.text.rpartition("Not assessable: ")[2].rstrip(".")
    else:
        figures |= flat_metrics({"source_macro_auc": macro})
    if table is not None:
        tables.append(table)
    return Findings(Section("shortcuts", "Shortcut probes", text, flags, tables, pictures), figures, missing)


def _probe(test: Films, blanked: Films | None, plan: ResamplingPlan) -> tuple[Interval, Interval, Interval, int]:
    """Macro AUROC of whole films, of blanked ones, their difference, and how many films."""
    nan = float("nan")
    why = test.why_no_classes() or ("the evaluation did not make this probe" if blanked is None else "")
    here, there = match_films(test.items, blanked.items) if blanked is not None and not why else (np.empty(0),) * 2
    if not why and not len(here):
        why = "no test film was scored with this region blanked: the lungs are not known"
    if not why and blanked is not None and blanked.classes != test.classes:
        why = "the blanked films were scored for other classes"
    if why or blanked is None:
        nothing = Interval(nan, nan, nan, 0, why)
        return nothing, nothing, nothing, 0
    found = compare_auc(test.cohort.take(here), blanked.cohort.scores[there], plan)
    sides = [side["macro_auc"] for side in found]
    if sides[2].reason:
        # Why no class can be assessed says more than that none can.
        reason = next((side.reason for key, side in found[2].items() if key != "macro_auc"), "")
        sides = [Interval(nan, nan, nan, 0, reason or sides[2].reason)] * 3
    return sides[0], sides[1], sides[2], len(here)


def _source_interval(source: Mapping[str, Any] | None) -> Interval | None:
    macro = None if source is None else source.get("macro_auc")
    numbers = (
        [number_or_none(macro.get(key)) for key in ("value", "ci_low", "ci_high")] if isinstance(macro, Mapping) else []
    )
    if not numbers or numbers[0] is None:
        return None
    value, low, high = (float("nan") if number is None else number for number in numbers)
    return Interval(value, low, high, 0)


def _source(source: Mapping[str, Any] | None) -> tuple[Flag, Table | None]:
    macro = _source_interval(source)
    if source is None or macro is None:
        told = (source or {}).get("text") or "Not assessable: the evaluation did not try to predict the source."
        return Flag("unknown", f"Data source, from the model's features. {told}"), None
    above = number_or_none(macro.ci_low) is not None and macro.ci_low > 0.5
    flag = Flag(
        "warning" if above else "good", f"Data source, from the model's features. {source.get('text') or ''}".strip()
    )
    rows: list[list[Any]] = []
    for name, area in (source.get("auc") or {}).items():
        interval = _source_interval({"macro_auc": area})
        rows.append([str(name), (source.get("images") or {}).get(name), interval_text(interval)])
    rows.append(["Macro", "", interval_text(macro)])
    note = "Chance is 0.5. Sources that differ in their patients differ in features that matter, too."
    return flag, Table(
        "How well a linear classifier reads the source off the features", ["Source", "Films", "AUROC"], rows, note
    )
