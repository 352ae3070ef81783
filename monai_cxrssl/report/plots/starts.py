# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of AUC against lung attention, a point per model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from monai_cxrssl.report.plots.canvas import FADED, canvas, line_style

__all__ = ["draw_starts"]

_MARKERS = {"scratch": "X", "given": "D*", "single task": "sp", "curriculum": "o^vP<>"}
#: Then the marker changes.
_COLOURS = 7


def draw_starts(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Draw a panel per fraction: macro AUC over PFS minus lung area, with the interval of each.

    Args:
        report: what :func:`~monai_cxrssl.curricula.compare_starts` returns.
        path: of the PNG.
    """
    names = list(dict.fromkeys(row["start"] for row in report["rows"]))
    fractions = [chosen["fraction"] for chosen in report["chosen"]]
    below = 0.6 + 0.21 * -(-len(names) // 3)
    with canvas(path, max(6.4, 4.2 * len(fractions)), 4.2 + below) as figure:
        panels = figure.subplots(1, len(fractions), sharey=True, squeeze=False)[0]
        handles: dict[str, Any] = {}
        for axes, fraction in zip(panels, fractions, strict=True):
            axes.axvline(0, color=FADED, linewidth=1.2, linestyle="--")
            drawn = 0
            for row in (row for row in report["rows"] if row["fraction"] == fraction):
                across, up = row["lung_attention_excess"], row["macro_auc"]
                if across["value"] is None or up["value"] is None:
                    continue
                number = max(0, names.index(row["start"]) - 1)
                markers = _MARKERS[row["kind"]]
                colour = FADED if row["kind"] == "scratch" else line_style(number)["color"]
                bars = axes.errorbar(
                    across["value"], up["value"], xerr=_reach(across), yerr=_reach(up), color=colour,
                    marker=markers[number // _COLOURS % len(markers)], markersize=8, markeredgecolor="white",
                    elinewidth=1.1, capsize=2.5,
                )  # fmt: skip
                handles.setdefault(row["start"] + " alone" * (row["kind"] == "single task"), bars)
                drawn += 1
            if not drawn:
                axes.text(0.5, 0.5, "attention not assessable", ha="center", va="center", transform=axes.transAxes)
            axes.set(title=f"{100 * fraction:.6g} % of the labels", xlabel="PFS minus lung area (0: chance)")
            axes.grid(linewidth=0.6)
            axes.set_axisbelow(True)
        panels[0].set_ylabel("macro AUC on test")
        if handles:
            title = f"Bars: {100 * report['confidence']:g} % intervals over test patients"
            figure.legend(
                handles.values(), handles.keys(), loc="outside lower left", ncols=3, frameon=False, title=title,
                alignment="left",
            )  # fmt: skip


def _reach(figure: Mapping[str, Any]) -> list[list[float]] | None:
    """How far the interval goes to either side, if there is one."""
    if figure["ci_low"] is None:
        return None
    return [[max(0.0, figure["value"] - figure["ci_low"])], [max(0.0, figure["ci_high"] - figure["value"])]]
