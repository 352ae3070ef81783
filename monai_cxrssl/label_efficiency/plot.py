# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of label efficiency."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.files import atomic_write
from monai_cxrssl.label_efficiency.table import METRIC_NAMES, subset_counts

__all__ = ["plot_label_efficiency"]

#: M. Okabe, K. Ito, "Color Universal Design", 2008: told apart with any kind of colour vision. Grey for the first.
_COLOURS = ("#5a5a5a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_label_efficiency(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write the picture of a report (see :func:`~monai_cxrssl.label_efficiency.efficiency_table`) as PNG, in one step.

    Above: the mean over draws with its interval, a line per initialisation; small dots are the draws. Below, with two
    or more initialisations: the paired differences from the first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    inits = list(report["settings"]["inits"])
    fractions = sorted(report["settings"]["fractions"])
    metric = METRIC_NAMES.get(report["metric"], report["metric"])
    panels = 2 if len(inits) > 1 else 1
    figure = Figure(figsize=(8.0, 3.6 + 2.8 * (panels - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=[3, 2][:panels])[:, 0]
    logs = np.log10(fractions)
    gap = float(np.diff(logs).min()) if len(logs) > 1 else 1.0
    # A fifth of the narrowest gap for all of them, so that groups stay apart; never more than looks like one group.
    step = min(0.2 * max(float(np.ptp(logs)), 1.0), 0.55 * gap) / max(len(inits) - 1, 1)
    step = min(step, 0.03 * max(float(np.ptp(logs)), 1.0))
    for number, init in enumerate(inits):
        shift = 10 ** (step * (number - (len(inits) - 1) / 2))
        style = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
        _draw(axes[0], report["figures"], init, fractions, shift, style, 10 ** (-0.3 * step))
        if panels > 1 and number:
            _draw(axes[1], report["differences"], init, fractions, shift, style)
    axes[0].set(ylabel=f"{metric} (test)", xscale="log")
    if any(row["value"] is not None for row in report["figures"]):
        axes[0].legend(frameon=False, fontsize=9, loc="best")
    else:
        axes[0].text(0.5, 0.5, "no results", ha="center", va="center", transform=axes[0].transAxes)
    if panels > 1:
        axes[1].axhline(0, color="0.35", lw=1, zorder=1)
        axes[1].set_ylabel(f"difference\nfrom {inits[0]}")
    margin = 10 ** max(0.6 * gap if len(logs) > 1 else 0.5, 0.02)
    margin = min(margin, 10 ** (0.12 * max(float(np.ptp(logs)), 1.0)))
    axes[-1].set_xlim(fractions[0] / margin, fractions[-1] * margin)
    counts = [subset_counts(report, fraction) for fraction in fractions]
    labels = [f"{100 * f:.6g} %\n{p}\n{i}" for f, (p, i) in zip(fractions, counts, strict=True)]
    axes[-1].set_xticks(fractions, labels)
    axes[-1].xaxis.set_minor_locator(NullLocator())
    axes[-1].annotate("labels\npatients\nimages", (0, 0), (-8, -4), xycoords="axes fraction", ha="right", va="top",
                      textcoords="offset points", fontsize=9, color="0.35")  # fmt: skip
    axes[-1].tick_params(axis="x", labelsize=9)
    for axis in axes:
        axis.grid(axis="y", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    test, confidence, draws = report["test"], f"{100 * report['confidence']:g} %", report["settings"]["draws"]
    averaged = "one draw" if draws == 1 else f"mean of {draws} draws, dots: single draws"
    figure.suptitle(
        f"{metric[0].upper()}{metric[1:]} on {test['images']} test images of {test['patients']} patients; "
        f"{averaged}, bars: {confidence} interval",
        fontsize=10,
    )
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _draw(
    axis: Any,
    rows: list[dict[str, Any]],
    init: str,
    fractions: list[float],
    shift: float,
    style: dict,
    beside: float = 1.0,
) -> None:
    own = {row["fraction"]: row for row in rows if row["init"] == init and row["value"] is not None}
    known = [fraction for fraction in fractions if fraction in own]
    if not known:
        return
    places = np.array(known) * shift
    value, low, high = (
        np.array([np.nan if own[f][key] is None else own[f][key] for f in known])
        for key in ("value", "ci_low", "ci_high")
    )
    axis.plot(places, value, lw=0.9, ms=6, label=init, zorder=3, **style)
    axis.vlines(places, low, high, color=style["color"], lw=1.6, zorder=2)
    for ends in (low, high):
        axis.plot(places, ends, ls="", marker="_", ms=6, color=style["color"], zorder=2)
    if beside != 1 and max(own[fraction]["draws"] for fraction in known) > 1:
        for place, fraction in zip(places, known, strict=True):
            values = [draw for draw in own[fraction]["by_draw"].values() if draw is not None]
            axis.plot(
                [place * beside] * len(values), values, ls="", marker=".", ms=3.5, color=style["color"], alpha=0.6
            )
