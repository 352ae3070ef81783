# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The section that compares models on the same cases: DeLong's test and the paired bootstrap over patients."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.delong import delong_test, holm_adjust
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, bootstrap_mean, flat_metrics
from monai_cxrssl.metrics.ranking import compare_auc
from monai_cxrssl.report.content import Flag, Section, Table
from monai_cxrssl.report.findings import Films, Findings, interval_text, missing_figures, number_or_none, reasons_note
from monai_cxrssl.report.paired import match_films, p_of_interval

__all__ = ["comparison_findings"]


def comparison_findings(models: Mapping[str, Films], plan: ResamplingPlan = DEFAULT_PLAN) -> Findings:
    """Make the section, on the films that all models scored.

    Figures: ``<first>_minus_<second>_macro_auc``, ``…_auc_<class>`` and ``…_dice``.

    Args:
        models: test films of each model, by name; two or more.
        plan: of the bootstrap.

    Raises:
        DatalistError: models of other classes, no film in common, or films whose labels differ.
    """
    aligned, text = _aligned(models)
    intervals: dict[str, Interval] = {}
    tables, flags = [], []
    patients = next(iter(aligned.values())).patients
    films = len(next(iter(aligned.values())).items)
    tests: list[dict[str, Any]] = []
    for first, second in combinations(aligned, 2):
        tests += _pair(first, aligned[first], second, aligned[second], intervals, plan)
    for kind in ("p", "delong_p"):
        for test, adjusted in zip(tests, holm_adjust([test[kind] for test in tests]), strict=True):
            test[f"holm_{kind}"] = adjusted
    pairs = list(combinations(aligned, 2))
    for first, second in pairs:
        own = [test for test in tests if test["pair"] == (first, second)]
        rows: list[list[Any]] = [
            [
                test["what"],
                interval_text(test["interval"], signed=True),
                *(number_or_none(test[key]) for key in ("p", "holm_p", "delong_p", "holm_delong_p")),
            ]
            for test in own
        ]
        columns = ["Figure", "Difference", "p, bootstrap", "p, Holm", "p, DeLong", "p DeLong, Holm"]
        note = reasons_note({test["what"]: test["interval"] for test in own})
        tables.append(Table(f"{first} minus {second}", columns, rows, note))
        flags.append(_flag(first, second, own[0]))
    text += [
        f"{films} films of {patients} patients that all models scored. The differences have 95 % intervals from the "
        "same resampled patients for both models; their p is of the width of that interval. DeLong's test takes films "
        "as independent: where patients have several, trust the bootstrap.",
        f"{len(tests)} differences are tested here. The columns Holm are corrected for that number; without the "
        "correction, one in twenty would come out below 0.05 by chance.",
        "The sections above are of the first model; this one alone is of all.",
    ]
    section = Section("comparison", "Comparison of models", text, flags, tables)
    return Findings(section, flat_metrics(intervals), missing_figures(intervals))


def _aligned(models: Mapping[str, Films]) -> tuple[dict[str, Films], list[str]]:
    """The films that all models scored, in the order of the first, and what was left out."""
    names = list(models)
    first = models[names[0]]
    for name in names[1:]:
        if (models[name].classes, models[name].task) != (first.classes, first.task):
            raise DatalistError(
                f"{names[0]} has the classes {', '.join(first.classes)} ({first.task}) and {name} has "
                f"{', '.join(models[name].classes)} ({models[name].task}); compare models of the same classes."
            )
    common = np.arange(len(first.items))
    for name in names[1:]:
        common = np.intersect1d(common, match_films(first.items, models[name].items)[0])
    if not len(common):
        raise DatalistError(
            f"{', '.join(names)} have no test film in common, by image and patient_id; predict the same cases."
        )
    chosen = first.take(common)
    aligned = {names[0]: chosen}
    for name in names[1:]:
        other = models[name].take(match_films(chosen.items, models[name].items)[1])
        odd = ~np.isclose(other.cohort.labels, chosen.cohort.labels, rtol=0, atol=0, equal_nan=True)
        if odd.any():
            image = chosen.items[int(np.flatnonzero(odd.any(axis=1))[0])]["image"]
            raise DatalistError(
                f"{names[0]} and {name} have other labels of {image}; give predictions on the same labels."
            )
        aligned[name] = other
    left_out = {
        name: len(films.items) - len(common) for name, films in models.items() if len(films.items) > len(common)
    }
    told = ", ".join(f"{count} of {name}" for name, count in left_out.items())
    return aligned, [f"The models were not scored on the same films; left out are {told}."] if told else []


def _pair(
    first: str, one: Films, second: str, other: Films, intervals: dict[str, Interval], plan: ResamplingPlan
) -> list[dict[str, Any]]:
    """The differences of two models; they go to ``intervals`` too."""
    nan = float("nan")
    tests: list[dict[str, Any]] = []
    if one.classes:
        sides = (one.cohort.scores, other.cohort.scores, one.cohort.labels)
        for key, interval in compare_auc(one.cohort, other.cohort.scores, plan)[2].items():
            what = "Macro AUROC" if key == "macro_auc" else f"AUROC of {key.removeprefix('auc_')}"
            test: dict[str, Any] = {"pair": (first, second), "what": what, "interval": interval, "delong_p": nan}
            if key != "macro_auc" and np.isfinite(interval.value):
                column = one.classes.index(key.removeprefix("auc_"))
                first_scores, other_scores, labels = (side[:, column] for side in sides)
                test["delong_p"] = delong_test(first_scores, other_scores, labels).p
            intervals[f"{first}_minus_{second}_{key}"] = interval
            tests.append(test)
    if "dice" in one.measures and "dice" in other.measures:
        difference = one.measures["dice"] - other.measures["dice"]
        if one.take(np.isfinite(difference)).patients > 1:
            interval = bootstrap_mean(difference, one.cohort.patients, "difference of dice", plan)
        else:
            interval = Interval(nan, nan, nan, 0, "the films with a mask are of fewer than two patients")
        intervals[f"{first}_minus_{second}_dice"] = interval
        tests.append({"pair": (first, second), "what": "Dice", "interval": interval, "delong_p": nan})
    if not tests:
        raise DatalistError(
            f"{first} and {second} have neither classes nor Dice in common; there is nothing to compare."
        )
    for test in tests:
        test["p"] = p_of_interval(test["interval"])
    return tests


def _flag(first: str, second: str, test: Mapping[str, Any]) -> Flag:
    interval = test["interval"]
    what = "macro AUROC" if test["what"] == "Macro AUROC" else test["what"]
    if number_or_none(interval.ci_low) is None:
        return Flag(
            "unknown",
            f"{first} and {second}: {what} is not assessable, since {interval.reason or 'there is no interval'}.",
        )
    shown = f"{what} {interval_text(interval, signed=True)}"
    if interval.ci_low > 0:
        return Flag("good", f"{first} is better than {second}: {shown}.")
    if interval.ci_high < 0:
        return Flag("warning", f"{first} is worse than {second}: {shown}.")
    return Flag("unknown", f"No difference between {first} and {second} is shown: {shown}.")
