# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section on shift: the same model on films of another set, and on subgroups by view, sex, age band and source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.metrics.operating_point import operating_point_figures
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, flat_metrics
from monai_cxrssl.metrics.ranking import ranking_figures
from monai_cxrssl.metrics.subgroups import Subgroup, age_band, subgroup_figures
from monai_cxrssl.report.content import Flag, Picture, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, number_or_none, reasons_note
from monai_cxrssl.report.paired import apart_difference
from monai_cxrssl.report.plots.intervals import draw_intervals
from monai_cxrssl.report.sections.classification import operating_points

__all__ = ["MIN_PATIENTS", "shift_findings"]

#: Subgroups of fewer patients are marked as small, and do not count for the largest gap.
MIN_PATIENTS = 30
_ATTRIBUTES = {"view_position": "View", "sex": "Sex", "age": "Age band", "source": "Source"}
Row = tuple[str, float | None, float | None, float | None]


def shift_findings(
    test: Films,
    validation: Films | None,
    external: Mapping[str, Films],
    folder: Path,
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> Findings:
    """Make the section.

    Figures: ``external_<name>_macro_auc``, ``external_<name>_drop`` (internal minus external, over the classes that
    both have) and ``external_<name>_sensitivity`` and ``_specificity`` (macro, at the internal thresholds);
    ``external_drop``, the largest; ``largest_subgroup_gap``, of the macro AUROC over the classes that both groups have.

    Args:
        test: internal films.
        validation: what the thresholds were chosen on; the external set never moves them.
        external: films of other sets.
        folder: of the report.
        plan: of the bootstrap.
    """
    why = test.why_no_classes()
    if why:
        section = Section("shift", "Shift", [], [Flag("unknown", f"Not assessable: {why}.")])
        return Findings(section, {}, {"external_drop": why, "largest_subgroup_gap": why})
    inside = ranking_figures(test.cohort, plan)
    outer = _external(test, validation, external, inside, plan)
    groups = _subgroups(test, plan)
    rows: list[Row] = [_row("All test films", inside["macro_auc"])]
    rows += outer.rows + groups.rows
    pictures = []
    reference = number_or_none(inside["macro_auc"].value)
    if len(rows) > 1 and draw_intervals(rows, folder / "figures" / "shift.png", reference):
        alt = "Macro AUROC of external sets and subgroups with intervals"
        caption = "Macro AUROC; small groups are marked. Groups that lack a class are averaged over the others."
        pictures.append(Picture("figures/shift.png", alt, caption))
    text = [
        "External films are scored by the same weights at the same thresholds; nothing is tuned again. Subgroups of "
        f"fewer than {MIN_PATIENTS} patients are marked as small and do not count for the largest gap. Differences are "
        "over the classes that both sides have; their intervals are made of those of both (square-and-add)."
    ]
    intervals = outer.intervals | groups.intervals
    section = Section(
        "shift",
        "Shift: other sets and subgroups",
        text,
        outer.flags + groups.flags,
        outer.tables + groups.tables,
        pictures,
    )
    return Findings(section, flat_metrics(intervals), missing_figures(intervals))


class _Part:
    """What one half of the section gathers."""

    def __init__(self) -> None:
        self.intervals: dict[str, Interval] = {}
        self.flags: list[Flag] = []
        self.tables: list[Table] = []
        self.rows: list[Row] = []


def _external(
    test: Films,
    validation: Films | None,
    external: Mapping[str, Films],
    inside: Mapping[str, Interval],
    plan: ResamplingPlan,
) -> _Part:
    part = _Part()
    nan = float("nan")
    if not external:
        reason = "no films of another set were evaluated"
        part.intervals["external_drop"] = Interval(nan, nan, nan, 0, reason)
        part.flags.append(Flag("unknown", f"Whether the model survives another hospital is not assessable: {reason}."))
        return part
    points = operating_points(test, validation, "youden", 0.9)
    cells: list[list[Any]] = []
    notes: dict[str, Interval] = {}
    for name, films in external.items():
        outside, drop, decided = _one_external(test, films, inside, points, plan)
        part.rows.append(_row(f"External: {name}", outside))
        found = {"macro_auc": outside, "drop": drop, **decided}
        part.intervals |= {f"external_{name}_{key}": interval for key, interval in found.items()}
        part.flags.append(_drop_flag(name, drop))
        cells.append(
            [name, len(films.items), films.patients, interval_text(outside), interval_text(drop, signed=True),
             *(interval_text(interval) for interval in decided.values())]
        )  # fmt: skip
        notes |= {f"{key} of {name}": interval for key, interval in found.items()}
    drops = {name: part.intervals[f"external_{name}_drop"] for name in external}
    # One that is not known may be the largest.
    unknown = [interval for interval in drops.values() if not np.isfinite(interval.value)]
    part.intervals["external_drop"] = unknown[0] if unknown else max(drops.values(), key=lambda drop: drop.value)
    columns = ["Set", "Films", "Patients", "Macro AUROC", "Internal minus external", "Sensitivity", "Specificity"]
    part.tables.append(Table("External sets", columns, cells, reasons_note(notes)))
    return part


def _one_external(
    test: Films, films: Films, inside: Mapping[str, Interval], points: Any, plan: ResamplingPlan
) -> tuple[Interval, Interval, dict[str, Interval]]:
    """Macro AUROC outside, the drop over common classes, and the decisions at the internal thresholds."""
    nan = float("nan")
    why = films.why_no_classes()
    if not why and films.classes != test.classes:
        why = f"it has the classes {', '.join(films.classes)}, and the test films {', '.join(test.classes)}"
    if why:
        nothing = Interval(nan, nan, nan, 0, why)
        return nothing, nothing, {"sensitivity": nothing, "specificity": nothing}
    outside = ranking_figures(films.cohort, plan)
    both = [name for name in test.classes if all(np.isfinite(side[f"auc_{name}"].value) for side in (inside, outside))]
    if both and len(both) < len(test.classes):
        macros = [ranking_figures(side.cohort.of_classes(both), plan)["macro_auc"] for side in (test, films)]
    else:
        macros = [inside["macro_auc"], outside["macro_auc"]]
    if both:
        drop = apart_difference(macros[0], macros[1])
    else:
        drop = Interval(nan, nan, nan, 0, "there is no class that can be assessed on both sides")
    decided = operating_point_figures(films.cohort, points, plan)
    # A mean over other classes than inside would be no finding about the set.
    first = next((decided[f"sensitivity_{name}"].reason for name in films.classes), "")
    told = {}
    for figure in ("sensitivity", "specificity"):
        macro = decided[f"macro_{figure}"]
        told[figure] = macro if np.isfinite(macro.value) else Interval(nan, nan, nan, 0, first or macro.reason)
    return outside["macro_auc"], drop, told


def _drop_flag(name: str, drop: Interval) -> Flag:
    if number_or_none(drop.ci_low) is None:
        return Flag(
            "unknown",
            f"External set {name}: the loss is not assessable, since {drop.reason or 'there is no interval'}.",
        )
    shown = f"internal minus external macro AUROC {interval_text(drop, signed=True)}"
    if drop.ci_low > 0:
        return Flag(
            "bad" if drop.value > 0.05 else "warning", f"External set {name}: the model is worse there ({shown})."
        )
    return Flag("good" if drop.value <= 0.05 else "unknown", f"External set {name}: no loss is shown ({shown}).")


def _subgroups(test: Films, plan: ResamplingPlan) -> _Part:
    part = _Part()
    nan = float("nan")
    gaps: list[tuple[Interval, str]] = []
    columns = {
        field: [age_band(item.get(field)) if field == "age" else item.get(field) for item in test.items]
        for field in _ATTRIBUTES
    }

    def divided(field: str) -> list[Subgroup]:
        return subgroup_figures(test.cohort, columns[field], MIN_PATIENTS, plan)

    names = {field: {name for name in map(_named, values) if name} for field, values in columns.items()}
    worth = [field for field in _ATTRIBUTES if len(names[field]) > 1]
    # The products of sparse matrices, which take the time, leave the interpreter's lock.
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="subgroups") as pool:
        found_groups = dict(zip(worth, pool.map(divided, worth), strict=True))
    for field, title in _ATTRIBUTES.items():
        if field not in found_groups:
            reason = "all films of which it is known are alike" if names[field] else "it is not known of any film"
            part.flags.append(Flag("unknown", f"{title}: not assessable, since {reason}."))
            continue
        groups = found_groups[field]
        known = [group for group in groups if group.name != "unknown"]
        part.tables.append(_group_table(title, groups))
        part.rows += [
            _row(f"{title}: {group.name}" + (" (small)" if group.small else ""), group.figures["macro_auc"])
            for group in groups
        ]
        large = [group for group in known if not group.small]
        found = [(gap, f"{title}: {a.name} and {b.name}") for a, b in combinations(large, 2) if (gap := _gap(a, b))]
        if not found:
            reason = f"no two groups have {MIN_PATIENTS} patients or more, and figures of a class"
            part.flags.append(Flag("unknown", f"{title}: a gap is not assessable, since {reason}."))
            continue
        gap, words = max(found, key=lambda each: each[0].value)
        gaps.append((gap, words))
        shown = (
            f"the largest difference of the AUROC is {interval_text(gap)}, between {words.removeprefix(title + ': ')}"
        )
        level: Any = "good" if gap.value <= 0.1 else "bad" if gap.ci_low > 0 else "warning"
        part.flags.append(Flag(level, f"{title}: {shown}."))
    if gaps:
        part.intervals["largest_subgroup_gap"] = max(gaps, key=lambda each: each[0].value)[0]
    else:
        reason = f"there are no two subgroups of {MIN_PATIENTS} patients or more that can be compared"
        part.intervals["largest_subgroup_gap"] = Interval(nan, nan, nan, 0, reason)
    return part


def _named(value: Any) -> str:
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
        gap = Interval(value, low, high, min(gap.resamples for gap in each))
    return gap if gap.value >= 0 else Interval(-gap.value, -gap.ci_high, -gap.ci_low, gap.resamples)


def _group_table(title: str, groups: list[Subgroup]) -> Table:
    rows: list[list[Any]] = [
        [
            group.name,
            group.films,
            group.patients,
            "small" if group.small else "",
            interval_text(group.figures["macro_auc"]),
        ]
        for group in groups
    ]
    left_out = {
        f"{key.removeprefix('auc_')} in {group.name}": area
        for group in groups
        for key, area in group.figures.items()
        if key != "macro_auc"
    }
    return Table(title, ["Group", "Films", "Patients", "Size", "Macro AUROC"], rows, reasons_note(left_out))


def _row(name: str, interval: Interval) -> Row:
    return name, number_or_none(interval.value), number_or_none(interval.ci_low), number_or_none(interval.ci_high)
