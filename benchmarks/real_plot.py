# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The plot of ``real_cxr.py``: differences from the random encoder with intervals, and attention over chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["plot"]

COLOURS = ("#b3402a", "#1f5fa8", "#3f7f3f")


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Write the picture: a row of panels for the linear probe, one for fine-tuning; the last column is of the lungs.

    Args:
        report: as ``real_cxr.json`` holds it; what was not run leaves a gap.
        path: file of the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in report["figures"] if not name.startswith("random")]
    rows = [name for name in report["figures"] if name.startswith("random")] + names
    keys = [key for key in report["tasks"] if key not in ("lungs", "corpus")]
    figure = Figure(figsize=(3.0 * (len(keys) + 1) + 1.5, 0.52 * len(rows) + 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(keys) + 1, sharey=True)
    for line, (protocol, title) in zip(axes, (("linear", "linear probe"), ("fine-tuned", "fine-tuned")), strict=True):
        for axis, key in zip(line, keys, strict=False):
            cells = {name: report["figures"][name][key] for name in names}
            _points(axis, rows, cells, [f"{protocol} {text}" for text in ("1 %", "10 %", "100 %")])
            axis.set_title(f"{report['tasks'][key]['name']}\n{title}", fontsize=9)
            axis.set_xlabel("macro AUC over random", fontsize=8)
    attention, lungs = axes[0][-1], axes[1][-1]
    found = {
        name: {"attention": {"difference": row["above_chance"]}}
        for name, row in report["attention"].items()
        if None not in row.get("above_chance", [None])
    }
    _points(attention, rows, found, ["attention"])
    attention.set_title("attention on the lungs\nCOVID-19 or other, all labels", fontsize=9)
    attention.set_xlabel("share of saliency above chance", fontsize=8)
    cells = {name: report["figures"][name]["lungs"] for name in names}
    _points(lungs, rows, cells, [f"fine-tuned {count} masks" for count in (5, 10, 50)])
    lungs.set_title(f"{report['tasks']['lungs']['name']}\nfine-tuned", fontsize=9)
    lungs.set_xlabel("Dice over random", fontsize=8)
    _share_limits([axis for line in axes for axis in line[:-1]])
    for line in axes:
        line[0].set_yticks(range(len(rows)), rows, fontsize=8)
    axes[0][0].invert_yaxis()
    marks = axes[1][0].get_legend_handles_labels()[0]
    if len(marks) == len(COLOURS):
        texts = ["1 % of the labels, 5 masks", "10 % of the labels, 10 masks", "all labels, 50 masks"]
        figure.legend(marks, texts, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _points(axis: Any, rows: Sequence[str], cells: Mapping[str, Mapping[str, Any]], amounts: Sequence[str]) -> None:
    """Draw one colour per amount, one line per encoder."""
    step = 0.22
    if len(amounts) > 1:
        level = [number for number, name in enumerate(rows) if name.startswith("random")]
        axis.plot([0] * len(level), level, "o", ms=4, mfc="white", color="0.5", zorder=3)
    for number, amount in enumerate(amounts):
        known = [name for name in rows if "difference" in cells.get(name, {}).get(amount, {})]
        found = np.array([cells[name][amount]["difference"] for name in known]).reshape(-1, 3)
        value, low, high = found.T
        height = np.array([rows.index(name) for name in known]) + step * (number - (len(amounts) - 1) / 2)
        # A percentile interval need not hold the value itself.
        error = np.maximum(0, [value - low, high - value])
        colour = COLOURS[number] if len(amounts) > 1 else "0.2"
        axis.errorbar(value, height, xerr=error, fmt="o", ms=3.5, capsize=2, lw=1.1, color=colour, label=amount)
    axis.axvline(0, color="0.5", lw=1)
    axis.grid(axis="x", alpha=0.25)
    axis.locator_params(axis="x", nbins=6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _share_limits(axes: Sequence[Any]) -> None:
    """One scale for all areas, so that a panel of small differences looks like one."""
    limits = np.array([axis.get_xlim() for axis in axes])
    for axis in axes:
        axis.set_xlim(limits[:, 0].min(), limits[:, 1].max())
