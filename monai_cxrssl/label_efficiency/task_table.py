# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One table of several tasks from one encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_cxrssl.label_efficiency.table import aligned, interval_text, metric_title

__all__ = ["task_table"]


def task_table(reports: Mapping[str, Mapping[str, Any]], markdown: bool = False) -> str:
    """Lay out a line per task, share of the labels and row; a column per metric, with its interval.

    Args:
        reports: of each task by its name, as :meth:`~monai_cxrssl.label_efficiency.Study.run` returns them.
    """
    metrics = list(dict.fromkeys(metric for report in reports.values() for metric in report["metrics"]))
    several = any(len(report["settings"]["fractions"]) > 1 for report in reports.values())
    header = ["task", *(["labels"] if several else []), "row", "test patients", *map(metric_title, metrics)]
    lines = [header]
    differences = [header[: -len(metrics) - 1] + header[-len(metrics) :]]
    for task, report in reports.items():
        for fraction in report["settings"]["fractions"]:
            share = [f"{100 * fraction:.6g} %"] if several else []
            for row in (row["name"] for row in report["settings"]["rows"]):
                found = report["metrics"]
                patients = next(str(of_metric["test"]["patients"]) for of_metric in found.values())
                texts = [_text(found, "figures", metric, row, fraction) for metric in metrics]
                lines.append([task, *share, row, patients, *texts])
                if row != report["settings"]["reference"]:
                    texts = [_text(found, "differences", metric, row, fraction) for metric in metrics]
                    name = f"{row} - {report['settings']['reference']}"
                    differences.append([task, *share, name, *texts])
    tables = [aligned("Tasks", lines, markdown)]
    if len(differences) > 1:
        tables.append(aligned("Differences, paired", differences, markdown))
    notes = dict.fromkeys(
        note for report in reports.values() for found in report["metrics"].values() for note in found["notes"]
    )
    return "\n\n".join([*tables, "\n".join(f"- {note}" if markdown else note for note in notes)])


def _text(found: Mapping[str, Any], kind: str, metric: str, row: str, fraction: float) -> str:
    """A cell; empty where the row has no such metric."""
    if metric not in found or row in found[metric]["without"]:
        return ""
    entry = next(e for e in found[metric][kind] if (e["row"], e["fraction"]) == (row, fraction))
    if entry["value"] is None:
        return f"not assessable: {entry['reason']}"
    return interval_text(entry, "+" if kind == "differences" else "")
