# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Section on shift: another data set, and subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import numpy as np

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.metrics.operating_point import OperatingPoint, operating_point_figures
from monai_cxrssl.metrics.patient_bootstrap import Interval, missing_interval
from monai_cxrssl.metrics.ranking import ranking_figures
from monai_cxrssl.metrics.subgroups import Subgroup, age_band, subgroup_figures
from monai_cxrssl.report.content import FlagLevel, Section
from monai_cxrssl.report.findings import Evidence, Films, Findings, films_of, interval_text
from monai_cxrssl.report.paired import apart_difference
from monai_cxrssl.report.plots.intervals import IntervalRow, draw_intervals, interval_row
from monai_cxrssl.report.sections.classification import operating_points

__all__ = ["MIN_PATIENTS", "shift_findings"]

#: Subgroups of fewer patients are marked as small, and do not count for the largest gap.
MIN_PATIENTS = 30
_ATTRIBUTES = {"view_position": "View", "sex": "Sex", "age": "Age band", "source": "Source"}


def shift_findings(evidence: Evidence) -> Findings:
    """Make the section.

    Figures: ``external_<name>_macro_auc``, ``external_<name>_drop`` (internal minus external, over the classes that
    both have) and ``external_<name>_sensitivity`` and ``_specificity`` (macro, at the internal thresholds);
    ``external_drop``, the largest; ``largest_subgroup_gap``, of the macro AUROC over the classes that both groups have.
    """
    test = evidence.test
    if why := test.why_no_classes():
        keys = ("external_drop", "largest_subgroup_gap")
        return Findings(Section("shift", "Shift")).not_assessable(why, keys)
    findings = Findings(Section("shift", "Shift: other sets and subgroups"))
    inside = ranking_figures(test.cohort, evidence.plan)
    rows = [interval_row("All test images", inside["macro_auc"])]
    rows += _external(findings, evidence, inside)
    rows += _subgroups(findings, evidence)
    if len(rows) > 1 and draw_intervals(rows, evidence.picture_path("shift.png"), inside["macro_auc"].value):
        alt = "Macro AUROC of external sets and subgroups with intervals"
        caption = "Macro AUROC; small groups are marked. Groups that lack a class are averaged over the others."
        findings.picture("shift.png", alt, caption)
    findings.text(
        "External images are scored by the same weights at the same thresholds; nothing is tuned again. Subgroups of "
        f"fewer than {MIN_PATIENTS} patients are marked as small and do not count for the largest gap. Differences are "
        "over the classes that both sides have; their intervals are made of those of both (square-and-add)."
    )
    return findings


def _external(findings: Findings, evidence: Evidence, inside: Mapping[str, Interval]) -> list[IntervalRow]:
    """Add what external sets show, and return their rows of the plot."""
    if not evidence.model.external:
        reason = "no images of another set were evaluated"
        findings.intervals({"external_drop": missing_interval(reason)})
        findings.flag("unknown", f"Whether the model survives another hospital is not assessable: {reason}.")
        return []
    points = operating_points(evidence.test, evidence.validation, "youden", 0.9)
    external = {name: films_of(part) for name, part in evidence.model.external.items()}
    figures = {name: _external_figures(films, evidence, inside, points) for name, films in external.items()}
    for name, found in figures.items():
        findings.intervals({f"external_{name}_{key}": interval for key, interval in found.items()})
        _flag_drop(findings, name, found["drop"])
    drops = [found["drop"] for found in figures.values()]
    # One that is not known may be the largest.
    unknown = [drop for drop in drops if not np.isfinite(drop.value)]
    findings.intervals({"external_drop": unknown[0] if unknown else max(drops, key=lambda drop: drop.value)})
    columns = ["Set", "Images", "Patients", "Macro AUROC", "Internal minus external", "Sensitivity", "Specificity"]
    rows = [
        [name, len(films.items), films.patients, *(interval_text(each, key == "drop") for key, each in found.items())]
        for (name, films), found in zip(external.items(), figures.values(), strict=True)
    ]
    notes = {f"{key} of {name}": interval for name, found in figures.items() for key, interval in found.items()}
    findings.table("External sets", columns, rows, notes)
    return [interval_row(f"External: {name}", found["macro_auc"]) for name, found in figures.items()]


def _external_figures(
    films: Films, evidence: Evidence, inside: Mapping[str, Interval], points: list[OperatingPoint]
) -> dict[str, Interval]:
    """Macro AUROC outside, the drop over common classes, and the decisions at the internal thresholds."""
    test = evidence.test
    why = films.why_no_classes()
    if not why and films.classes != test.classes:
        why = f"it has the classes {', '.join(films.classes)}, and the test images {', '.join(test.classes)}"
    if why:
        return dict.fromkeys(("macro_auc", "drop", "sensitivity", "specificity"), missing_interval(why))
    outside = ranking_figures(films.cohort, evidence.plan)
    both = [name for name in test.classes if all(np.isfinite(side[f"auc_{name}"].value) for side in (inside, outside))]
    macros = [inside["macro_auc"], outside["macro_auc"]]
    if both and len(both) < len(test.classes):
        sides = (test.cohort.of_classes(both), films.cohort.of_classes(both))
        macros = [ranking_figures(side, evidence.plan)["macro_auc"] for side in sides]
    none = missing_interval("there is no class that can be assessed on both sides")
    drop = apart_difference(*macros) if both else none
    decided = operating_point_figures(films.cohort, points, evidence.plan)
    # A mean over other classes than inside would be no finding about the set.
    first = next((decided[f"sensitivity_{name}"].reason for name in films.classes), "")
    macro = {figure: decided[f"macro_{figure}"] for figure in ("sensitivity", "specificity")}
    return {"macro_auc": outside["macro_auc"], "drop": drop} | {
        figure: interval if np.isfinite(interval.value) else missing_interval(first or interval.reason)
        for figure, interval in macro.items()
    }


def _flag_drop(findings: Findings, name: str, drop: Interval) -> None:
    shown = f"(internal minus external macro AUROC {interval_text(drop, signed=True)})"
    large = drop.value > 0.05
    if not np.isfinite(drop.ci_low):
        reason = drop.reason or "there is no interval"
        findings.flag("unknown", f"External set {name}: the loss is not assessable, since {reason}.")
    elif drop.ci_low > 0:
        findings.flag("bad" if large else "warning", f"External set {name}: the model is worse there {shown}.")
    else:
        findings.flag("unknown" if large else "good", f"External set {name}: no loss is shown {shown}.")


def _subgroups(findings: Findings, evidence: Evidence) -> list[IntervalRow]:
    """Add what subgroups show, and return their rows of the plot."""
    test = evidence.test
    columns = {field: [item.get(field) for item in test.items] for field in _ATTRIBUTES}
    columns["age"] = [age_band(age) for age in columns["age"]]

    def divided(field: str) -> list[Subgroup]:
        return subgroup_figures(test.cohort, columns[field], MIN_PATIENTS, evidence.plan)

    names = {field: {name for name in map(_named, values) if name} for field, values in columns.items()}
    several = [field for field in _ATTRIBUTES if len(names[field]) > 1]
    # The products of sparse matrices, which take the time, leave the interpreter's lock.
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="subgroups") as pool:
        groups_of = dict(zip(several, pool.map(divided, several), strict=True))
    rows: list[IntervalRow] = []
    largest: list[Interval] = []
    for field, title in _ATTRIBUTES.items():
        if field not in groups_of:
            reason = "all images of which it is known are alike" if names[field] else "it is not known of any image"
            findings.flag("unknown", f"{title}: not assessable, since {reason}.")
            continue
        groups = groups_of[field]
        _group_table(findings, title, groups)
        rows += [
            interval_row(f"{title}: {group.name}" + " (small)" * group.small, group.figures["macro_auc"])
            for group in groups
        ]
        large = [group for group in groups if group.name != "unknown" and not group.small]
        gaps = [(gap, f"{a.name} and {b.name}") for a, b in combinations(large, 2) if (gap := _gap(a, b))]
        if not gaps:
            reason = f"no two groups have {MIN_PATIENTS} patients or more, and figures of a class"
            findings.flag("unknown", f"{title}: a gap is not assessable, since {reason}.")
            continue
        gap, between = max(gaps, key=lambda each: each[0].value)
        largest.append(gap)
        level: FlagLevel = "good" if gap.value <= 0.1 else "bad" if gap.ci_low > 0 else "warning"
        findings.flag(
            level, f"{title}: the largest difference of the AUROC is {interval_text(gap)}, between {between}."
        )
    none = missing_interval(f"there are no two subgroups of {MIN_PATIENTS} patients or more that can be compared")
    findings.intervals({"largest_subgroup_gap": max(largest, key=lambda gap: gap.value, default=none)})
    return rows


def _named(value: object) -> str:
    """The name of a group; empty for what :func:`~monai_cxrssl.metrics.subgroup_figures` calls unknown."""
    text = "" if value is None or value != value else str(value).strip()
    return "" if text == "unknown" else text


def _gap(first: Subgroup, second: Subgroup) -> Interval | None:
    """The difference, as a positive number, of the mean AUROC over the classes that both groups have."""
    keys = [
        key
        for key in first.figures
        if key != "macro_auc" and all(math.isfinite(group.figures[key].value) for group in (first, second))
    ]
    if not keys:
        return None
    if all(math.isfinite(area.value) for group in (first, second) for area in group.figures.values()):
        gap = apart_difference(first.figures["macro_auc"], second.figures["macro_auc"])
    else:
        # Of one class or several there is no joint interval here: their differences are averaged with their ends, which
        # is too wide rather than too narrow.
        each = [apart_difference(first.figures[key], second.figures[key]) for key in keys]
        value, low, high = (
            float(np.mean([getattr(gap, end) for gap in each])) for end in ("value", "ci_low", "ci_high")
        )
        gap = Interval(value, low, high, 0, method=each[0].method)
    return gap if gap.value >= 0 else replace(gap, value=-gap.value, ci_low=-gap.ci_high, ci_high=-gap.ci_low)


def _group_table(findings: Findings, title: str, groups: list[Subgroup]) -> None:
    rows = [
        [group.name, group.films, group.patients, "small" * group.small, group.figures["macro_auc"]] for group in groups
    ]
    left_out = {
        f"{key.removeprefix('auc_')} in {group.name}": area
        for group in groups
        for key, area in group.figures.items()
        if key != "macro_auc"
    }
    findings.table(title, ["Group", "Images", "Patients", "Size", "Macro AUROC"], rows, left_out)
