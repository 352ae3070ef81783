# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of folds and their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_cxrssl.label_efficiency.table import aligned, interval_text, metric_title

__all__ = ["folds_table"]


def folds_table(report: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out the folds, then a table per metric: members, their mean, the ensemble, and how much better it is.

    Args:
        report: content of ``folds.json``.
        markdown: tables of Markdown in place of aligned columns.
    """
    tables = [_folds(report, markdown), *(_of_metric(found, markdown) for found in report["metrics"].values())]
    confidence = 100 * next(iter(report["metrics"].values()))["confidence"]
    notes = [
        f"Brackets: {confidence:g} % interval over the test patients; differences are paired. They are of these "
        "networks, not of what other folds or seeds would give.",
        "No fold holds a test patient. A member's weights were chosen on the patients left out of it, whose figure is "
        "too good.",
    ]
    notes += [f"Without {metric_title(found['metric'])}: {name}, since {reason}."
              for found in report["metrics"].values() for name, reason in found["refused"].items()]  # fmt: skip
    return "\n".join([*(f"{table}\n" for table in tables), *(f"- {note}" if markdown else note for note in notes)])


def _folds(report: Mapping[str, Any], markdown: bool) -> str:
    metric = report["settings"]["best_metric"]
    lines = [["member", "training patients", "images", "validation patients", metric, "best epoch", "temperature",
              "time"]]  # fmt: skip
    for fold in report["folds"]:
        training, validation = fold["training"], fold["validation"]
        lines.append(
            [
                fold["member"], str(training["patients"]), str(training["images"]), str(validation["patients"]),
                _number(fold["best"], "0.3f"), _number(fold["best_epoch"], "d"), _number(fold["temperature"], "0.2f"),
                f"{fold['seconds']:.0f} s" if fold["seconds"] is not None else fold["status"],
            ]
        )  # fmt: skip
    return aligned(f"{len(report['folds'])} folds of the patients of {report['data']['name']}", lines, markdown)


def _of_metric(found: Mapping[str, Any], markdown: bool) -> str:
    test = found["test"]
    title = f"{metric_title(found['metric'])} on {test['images']} test images of {test['patients']} patients"
    if found["spread"] is not None:
        title += f"; standard deviation of the members {found['spread']:.3f}"
    differences = {entry["model"]: entry for entry in found["differences"]}
    lines = [["model", metric_title(found["metric"]), "ensemble - model"]]
    for entry in found["figures"]:
        difference = differences.get(entry["model"])
        lines.append([entry["model"], _entry(entry), "" if difference is None else _entry(difference, "+")])
    return aligned(title, lines, markdown)


def _entry(entry: Mapping[str, Any], sign: str = "") -> str:
    return f"not assessable: {entry['reason']}" if entry["value"] is None else interval_text(entry, sign)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
