# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of label efficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.label_efficiency.measures import METRICS

__all__ = ["aligned", "efficiency_table", "interval_text", "metric_title", "subset_counts"]


def efficiency_table(report: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out a table per metric: a line per row, a column per fraction; then the differences from the reference.

    Args:
        report: as in ``fractions.json``: ``metrics`` (what :func:`~monai_cxrssl.label_efficiency.label_efficiency`
            returns, by name), with ``settings`` (``rows``, ``fractions``, ``draws``), ``subsets`` and ``cells``.
    """
    parts = [_of_metric(report, name, markdown) for name in report["metrics"]]
    # What is said below every table is said once.
    notes = list(dict.fromkeys(note for _, of_metric in parts for note in of_metric))
    if lost := sum(cell["status"] != "finished" for cell in report["cells"]):
        notes.append(f"{lost} of {len(report['cells'])} cells have no result; the figures are of the others.")
    return "\n".join([*(f"{table}\n" for table, _ in parts), *(f"- {note}" if markdown else note for note in notes)])


def _of_metric(report: Mapping[str, Any], name: str, markdown: bool) -> tuple[str, list[str]]:
    """The table of one metric, and its notes."""
    settings, found = report["settings"], report["metrics"][name]
    fractions, draws, test = settings["fractions"], settings["draws"], found["test"]
    averaged = "one draw" if draws == 1 else f"mean of {draws} draws"
    title = f"{metric_title(name)} on {test['images']} test images of {test['patients']} patients, {averaged}"
    lines = [["share of labels", *(f"{100 * fraction:.6g} %" for fraction in fractions)]]
    for number, unit in enumerate(("patients", "images")):
        lines.append([f"training {unit}", *(subset_counts(report, fraction)[number] for fraction in fractions)])
    status: dict[tuple[str, float], list[str]] = {}
    for cell in report["cells"]:
        status.setdefault((cell["row"], cell["fraction"]), []).append(cell["status"])
    base = found["reference"]
    rows = [row["name"] for row in settings["rows"] if row["name"] not in found["without"]]
    for row in rows:
        own = {entry["fraction"]: entry for entry in found["figures"] if entry["row"] == row}
        lines.append([row, *(_entry(own[f], draws, status.get((row, f), []), "") for f in fractions)])
    for row in rows if base in rows else []:
        own = {entry["fraction"]: entry for entry in found["differences"] if entry["row"] == row}
        both = [status.get((row, f), []) + status.get((base, f), []) for f in fractions]
        if own:
            entries = [_entry(own[f], draws, states, "+") for f, states in zip(fractions, both, strict=True)]
            lines.append([f"{row} - {base}", *entries])
    notes = [*found["notes"], *_absent_classes(found)]
    if found["without"]:
        notes.append(f"Without {metric_title(name)}: {', '.join(found['without'])}.")
    return aligned(title, lines, markdown), notes


def metric_title(name: str) -> str:
    """Return a metric as tables show it."""
    return METRICS[name].title if name in METRICS else name


def aligned(title: str, lines: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Lay out lines of cells below a title, the first of them the header: columns of text, or Markdown."""
    if markdown:
        texts = ["| " + " | ".join(line) + " |" for line in lines]
        texts.insert(1, "|---" * len(lines[0]) + "|")
        return "\n".join([f"**{title}**", "", *texts])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([title, "", *texts])


def subset_counts(report: Mapping[str, Any], fraction: float) -> tuple[str, str]:
    """Training patients and images of a fraction, as text: a range where draws differ."""
    own = [subset for subset in report["subsets"] if subset["fraction"] == fraction]
    texts = []
    for unit in ("patients", "images"):
        low, high = min(s[unit] for s in own), max(s[unit] for s in own)
        texts.append(f"{low}" if low == high else f"{low}-{high}")
    return texts[0], texts[1]


def interval_text(entry: Mapping[str, Any], sign: str = "") -> str:
    """Return a figure that has a value with its interval, such as ``0.912 [0.880, 0.941]``."""
    if entry["ci_low"] is None:
        return f"{entry['value']:{sign}.3f} [no interval]"
    return f"{entry['value']:{sign}.3f} [{entry['ci_low']:{sign}.3f}, {entry['ci_high']:{sign}.3f}]"


def _entry(entry: Mapping[str, Any], draws: int, statuses: Sequence[str], sign: str) -> str:
    if entry["value"] is None:
        # No draw at all, because the runs failed, is another thing than a split that cannot be scored.
        return "failed" if not entry["draws"] and "failed" in statuses else f"not assessable: {entry['reason']}"
    text = interval_text(entry, sign)
    return text if entry["draws"] == draws else f"{text} ({entry['draws']} of {draws} draws)"


def _absent_classes(found: Mapping[str, Any]) -> list[str]:
    figures: dict[str, Any] = next((entry["per_class"] for entry in found["figures"] if entry["per_class"]), {})
    absent = [f"{name} ({entry['reason']})" for name, entry in figures.items() if entry["value"] is None]
    return [f"Not assessable, and not in the mean: {', '.join(absent)}."] if absent else []
