# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of a search: validation curves, and values by option."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from monai_cxrssl.files import atomic_write
from monai_cxrssl.tuning.table import params_text, ranked_trials

__all__ = ["plot_tuning"]

#: Best, other finished, pruned; as in the plot of label efficiency.
_BEST, _FINISHED, _PRUNED = "#d55e00", "#0072b2", "#9a9a9a"


def plot_tuning(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write the picture of a search as PNG, in one step.

    Left: the best value so far of each trial by its epochs, dashed lines at the rungs. Right: the last value of each
    trial by the values of each option.

    Args:
        report: content of ``tuning.json``.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    options = list(report["space"])
    figure = Figure(figsize=(6.2 + 2.6 * len(options), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    widths = [2.4, *[1.0] * len(options)]
    axes = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    ranked = [trial for trial in ranked_trials(report) if trial["validation"]]
    best = ranked[0] if ranked and ranked[0]["status"] == "finished" else None
    space = {name: _sorted(values) for name, values in report["space"].items()}
    for place, trial in reversed(list(enumerate(ranked))):
        chosen = best is not None and not place
        style = _style(trial, chosen)
        axes[0].plot(*_so_far(trial), **style, label=params_text(trial["params"]) if chosen else None)
        for axis, name in zip(axes[1:], options, strict=True):
            if trial["value"] is not None:
                position = space[name].index(trial["params"][name])
                axis.plot(position, trial["value"], "o", ms=7, color=style["color"], zorder=style["zorder"])
    epochs = max((trial["epochs"] or 0 for trial in report["trials"]), default=0)
    for rung in report["rungs"][:-1]:
        axes[0].axvline(rung["share"] * epochs, color="0.6", ls="--", lw=0.8, zorder=0)
    axes[0].set(xlabel="epoch", ylabel=f"best {report['metric']} so far")
    if best is None:
        axes[0].text(0.5, 0.5, "no results", ha="center", va="center", transform=axes[0].transAxes)
    else:
        axes[0].legend(frameon=False, fontsize=9, loc="lower right")
    for axis, name in zip(axes[1:], options, strict=True):
        texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in space[name]]
        axis.set_xticks(range(len(texts)), texts, rotation=40, ha="right", fontsize=9)
        axis.set_xlim(-0.5, len(texts) - 0.5)
        axis.set_title(name, fontsize=10)
    for axis in axes:
        axis.grid(axis="y", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    finished = sum(trial["status"] == "finished" for trial in report["trials"])
    figure.suptitle(
        f"{len(report['trials'])} combinations, {finished} of them trained to the end (coloured; orange: the best)",
        fontsize=10,
    )
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _style(trial: Mapping[str, Any], best: bool) -> dict[str, Any]:
    if best:
        return {"color": _BEST, "lw": 2.2, "zorder": 4}
    finished = trial["status"] == "finished"
    return {"color": _FINISHED if finished else _PRUNED, "lw": 1.4 if finished else 0.9, "zorder": 3 if finished else 2}


def _sorted(values: Sequence[Any]) -> list[Any]:
    """Numbers by size; what has no order as it is."""
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def _so_far(trial: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    epochs: list[int] = []
    values: list[float] = []
    for row in trial["validation"]:
        if row["value"] is not None:
            epochs.append(row["epoch"])
            values.append(max([row["value"], *values[-1:]]))
    return epochs, values
