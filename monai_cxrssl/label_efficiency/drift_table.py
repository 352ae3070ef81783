# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of metrics under drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_cxrssl.label_efficiency.table import aligned, interval_text, metric_title
from monai_cxrssl.transforms.corruptions.drift import DRIFTS

__all__ = ["drift_table"]


def drift_table(report: Mapping[str, Any], markdown: bool = False) -> str:
    """Lay out, for each metric, what every row has and loses under drift at the largest fraction of the labels.

    Args:
        report: as in ``fractions.json``: ``drift`` (what :func:`~monai_cxrssl.label_efficiency.drift_figures` returns,
            by metric) and ``settings``.

    Returns:
        An empty text where there is nothing under drift.
    """
    fraction, reference = max(report["settings"]["fractions"]), report["settings"]["reference"]
    tables = []
    for metric, entries in report["drift"].items():
        lines = [["drift", "row", metric_title(metric), "change", f"change - that of {reference}"]]
        for entry in entries:
            if entry["fraction"] == fraction:
                against = _text(entry["against"], "+") if "against" in entry else ""
                lines.append(
                    [entry["drift"], entry["row"], _text(entry["under"]), _text(entry["change"], "+"), against]
                )
        if len(lines) > 1:
            tables.append(
                aligned(f"{metric_title(metric)} under drift, {100 * fraction:.6g} % of the labels", lines, markdown)
            )
    if tables:
        kinds = "; ".join(f"{name}: {DRIFTS[name]}" for name in report["settings"]["drifts"])
        note = f"Same test images, same draws, paired; the images are changed at the network's size. {kinds}."
        tables.append(f"- {note}" if markdown else note)
    return "\n\n".join(tables)


def _text(entry: Mapping[str, Any], sign: str = "") -> str:
    return f"not assessable: {entry['reason']}" if entry["value"] is None else interval_text(entry, sign)
