# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plots of the benchmark of record: rows beside the pixels, and curves of the pretrainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["plot_curves", "plot_rows"]

_COLOURS = ("#b3402a", "#1f5fa8", "#3f7f3f")
_AMOUNTS = ("10 %", "100 %")


def plot_rows(report: Mapping[str, Any], path: Path) -> None:
    """Draw AUC, Dice and attention of each row with intervals; a line stands where the pixels are.

    Args:
        report: as ``real_cxr.json`` holds it; what was not run leaves a gap.
        path: file of the picture.
    """
    names = list(report["figures"])
    panels: list[tuple[str, str, list[str]]] = []
    for key, task in report["tasks"]["labelled"].items():
        for protocol, title in (("probe", "linear probe"), ("fine-tuned", "fine-tuned")):
            panels.append((f"{task['name']}\n{title}", "macro AUC", [f"{key} {protocol} {text}" for text in _AMOUNTS]))
    panels.append(("Kermany, lungs\nfine-tuned", "Dice", [f"lungs fine-tuned {count} masks" for count in (5, 10, 50)]))
    figure = _figure(3.0 * (len(panels) + 1) + 1.5, 0.36 * len(names) + 2.4)
    axes = figure.subplots(1, len(panels) + 1, sharey=True)
    for axis, (title, label, keys) in zip(axes, panels, strict=False):
        rows = [[report["figures"][name].get(key, {}).get("value") for name in names] for key in keys]
        _points(axis, rows, [key.split(" ", 2)[2] for key in keys], title, label)
        for number, row in enumerate(rows):
            if row and row[0] and names[0].startswith("pixels"):
                axis.axvline(row[0][0], color=_COLOURS[number], lw=0.8, ls=":")
    gaze = [report["attention"][name]["value"] for name in names]
    _points(axes[-1], [gaze], ["10 %"], "attention on the lungs\nKermany, fine-tuned", "share above chance")
    axes[-1].axvline(0, color="0.5", lw=0.8, ls=":")
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    _save(figure, path)


def plot_curves(report: Mapping[str, Any], path: Path) -> None:
    """Draw probe and loss against steps, one panel for each pretraining.

    Args:
        report: as ``real_cxr.json`` holds it.
        path: file of the picture.
    """
    curves = {name: curve for name, curve in report["curves"].items() if curve}
    columns = 4
    lines = max(1, -(-len(curves) // columns))
    figure = _figure(3.4 * columns, 2.3 * lines)
    axes = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    for axis, (name, curve) in zip(axes, curves.items(), strict=False):
        for colour, (task, areas) in zip(_COLOURS, curve["areas"].items(), strict=False):
            axis.plot(curve["steps"], areas, "o-", ms=3, lw=1.2, color=colour, label=f"probe, {task}")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0.45, 1)
        losses = axis.twinx()
        if curve["losses"]:
            losses.plot(*np.array(curve["losses"]).T, color="0.6", lw=1)
        if curve["trivial_loss"] is not None and curve["reconstruction_loss"] is None:
            losses.axhline(curve["trivial_loss"], color="0.6", lw=0.8, ls=":")
        for one in (axis, losses):
            one.tick_params(labelsize=7)
    if curves:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=8
        )
    figure.supxlabel("steps; grey: loss, dotted that of a trivial answer", fontsize=8)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _points(axis: Any, rows: Sequence[Sequence[Any]], labels: Sequence[str], title: str, label: str) -> None:
    """Draw one colour per amount, one line per encoder."""
    for number, (row, text) in enumerate(zip(rows, labels, strict=True)):
        known = [place for place, found in enumerate(row) if found]
        value, low, high = np.array([row[place][:3] for place in known]).reshape(-1, 3).T
        height = np.array(known) + 0.22 * (number - (len(rows) - 1) / 2)
        error = np.maximum(0, [value - low, high - value])
        axis.errorbar(value, height, xerr=error, fmt="o", ms=3.5, capsize=2, lw=1.1, color=_COLOURS[number], label=text)
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(label, fontsize=8)
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    if len(rows) > 1:
        axis.legend(fontsize=7, frameon=False)
