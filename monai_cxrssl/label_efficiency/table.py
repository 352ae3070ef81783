# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of label efficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["METRIC_NAMES", "efficiency_table", "subset_counts"]

METRIC_NAMES = {"macro_auc": "macro AUC", "dice": "mean Dice"}


def efficiency_table(report: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out the figures: a row per initialisation, a column per fraction; then the differences from the first.

    Args:
        report: what :func:`~monai_cxrssl.label_efficiency.label_efficiency` returns, with ``settings`` (``inits``,
            ``fractions``, ``draws``), ``subsets`` and ``cells`` beside it, as in ``fractions.json``.
    """
    settings = report["settings"]
    fractions, draws = settings["fractions"], settings["draws"]
    first = next(iter(settings["inits"]))
    metric = METRIC_NAMES.get(report["metric"], report["metric"])
    test = report["test"]
    averaged = "one draw" if draws == 1 else f"mean of {draws} draws"
    title = f"{metric} on {test['images']} test images of {test['patients']} patients, {averaged}"
    rows = [["share of labels", *(f"{100 * fraction:.6g} %" for fraction in fractions)]]
    for number, unit in enumerate(("patients", "images")):
        rows.append([f"training {unit}", *(subset_counts(report, fraction)[number] for fraction in fractions)])
    status: dict[tuple[str, float], list[str]] = {}
    for cell in report["cells"]:
        status.setdefault((cell["init"], cell["fraction"]), []).append(cell["status"])
    for init in settings["inits"]:
        own = {row["fraction"]: row for row in report["figures"] if row["init"] == init}
        rows.append([init, *(_entry(own[f], draws, status.get((init, f), []), "") for f in fractions)])
    for init in list(settings["inits"])[1:]:
        own = {row["fraction"]: row for row in report["differences"] if row["init"] == init}
        both = [status.get((init, f), []) + status.get((first, f), []) for f in fractions]
        entries = [_entry(own[f], draws, found, "+") for f, found in zip(fractions, both, strict=True)]
        rows.append([f"{init} - {first}", *entries])
    absent = _absent_classes(report)
    notes = [*report["notes"], *absent]
    if any(row["status"] != "finished" for row in report["cells"]):
        lost = sum(row["status"] != "finished" for row in report["cells"])
        notes.append(f"{lost} of {len(report['cells'])} cells have no result; the figures are of the others.")
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|---" * len(rows[0]) + "|")
        return "\n".join([f"**{title}**", "", *lines, "", *(f"- {note}" for note in notes)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([title, "", *lines, "", *notes])


def subset_counts(report: Mapping[str, Any], fraction: float) -> tuple[str, str]:
    """Training patients and images of a fraction, as text: a range where draws differ."""
    own = [subset for subset in report["subsets"] if subset["fraction"] == fraction]
    texts = []
    for unit in ("patients", "images"):
        low, high = min(s[unit] for s in own), max(s[unit] for s in own)
        texts.append(f"{low}" if low == high else f"{low}-{high}")
    return texts[0], texts[1]


def _entry(row: Mapping[str, Any], draws: int, statuses: Sequence[str], sign: str) -> str:
    if row["value"] is None:
        # No draw at all, because the runs failed, is another thing than a split that cannot be scored.
        return "failed" if not row["draws"] and "failed" in statuses else f"not assessable: {row['reason']}"
    text = f"{row['value']:{sign}.3f}"
    text += (
        f" [{row['ci_low']:{sign}.3f}, {row['ci_high']:{sign}.3f}]" if row["ci_low"] is not None else " [no interval]"
    )
    return text if row["draws"] == draws else f"{text} ({row['draws']} of {draws} draws)"


def _absent_classes(report: Mapping[str, Any]) -> list[str]:
    figures: dict[str, Any] = next((row["per_class"] for row in report["figures"] if row["per_class"]), {})
    absent = [f"{name} ({entry['reason']})" for name, entry in figures.items() if entry["value"] is None]
    return [f"Not assessable, and not in the mean: {', '.join(absent)}."] if absent else []
