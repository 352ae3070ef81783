# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of label efficiency."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.files import atomic_write
from monai_cxrssl.label_efficiency.table import metric_title, subset_counts

__all__ = ["plot_label_efficiency"]

#: M. Okabe, K. Ito, "Color Universal Design", 2008: told apart with any kind of colour vision. Grey for the first.
_COLOURS = ("#5a5a5a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Beyond as many rows as there are colours.
_STYLES = ("-", "--", ":", "-.")


def plot_label_efficiency(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write the picture of a report (see :func:`~monai_cxrssl.label_efficiency.efficiency_table`) as PNG, in one step.

    A column per metric. Above: the mean over draws with its interval, a line per row; small dots are the draws. Below,
    with two or more rows: the paired differences from the reference.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row["name"] for row in report["settings"]["rows"]]
    fractions = sorted(report["settings"]["fractions"])
    metrics = report["metrics"]
    panels = 2 if len(rows) > 1 else 1
    width = 8.0 if len(metrics) == 1 else 5.4 * len(metrics)
    figure = Figure(figsize=(width, 3.9 + 2.8 * (panels - 1) + 0.14 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(panels, len(metrics), sharex=True, squeeze=False, height_ratios=[3, 2][:panels])
    logs = np.log10(fractions)
    gap = float(np.diff(logs).min()) if len(logs) > 1 else 1.0
    span = max(float(np.ptp(logs)), 1.0)
    # A fifth of the narrowest gap for all of them, so that groups stay apart; never more than looks like one group.
    step = min(min(0.2 * span, 0.55 * gap) / max(len(rows) - 1, 1), 0.03 * span)
    shown: dict[str, Any] = {}
    for (name, found), own in zip(metrics.items(), axes.T, strict=True):
        for number, row in enumerate(rows):
            shift = 10 ** (step * (number - (len(rows) - 1) / 2))
            turn, place = divmod(number, len(_COLOURS))
            style = {"color": _COLOURS[place], "marker": _MARKERS[place], "ls": _STYLES[turn % len(_STYLES)]}
            line = _draw(own[0], found["figures"], row, fractions, shift, style, 10 ** (-0.3 * step))
            if line is not None:
                shown.setdefault(row, line)
            if panels > 1:
                _draw(own[1], found["differences"], row, fractions, shift, style)
        test = found["test"]
        counted = f"{metric_title(name)}, {test['images']} test images of {test['patients']} patients"
        own[0].set_title(f"{counted[0].upper()}{counted[1:]}", fontsize=9)
        own[0].set(ylabel=metric_title(name), xscale="log")
        if all(entry["value"] is None for entry in found["figures"]):
            own[0].text(0.5, 0.5, "no results", ha="center", va="center", transform=own[0].transAxes)
        if panels > 1:
            own[1].axhline(0, color="0.35", lw=1, zorder=1)
            own[1].set_ylabel(f"difference\nfrom {found['reference']}")
        _label_fractions(own[-1], report, fractions, gap, span)
        for axis in own:
            axis.grid(axis="y", alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
    if shown:
        columns = min(len(shown), max(1, int(width // 2.6)))
        figure.legend(shown.values(), shown, frameon=False, fontsize=9, loc="outside lower center", ncols=columns)
    draws = report["settings"]["draws"]
    averaged = "One draw" if draws == 1 else f"Mean of {draws} draws, dots: single draws"
    confidence = next(iter(metrics.values()))["confidence"]
    figure.suptitle(f"{averaged}; bars: {100 * confidence:g} % interval", fontsize=10)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _label_fractions(axis: Any, report: Mapping[str, Any], fractions: list[float], gap: float, span: float) -> None:
    from matplotlib.ticker import NullLocator

    margin = 10 ** max(0.6 * gap if len(fractions) > 1 else 0.5, 0.02)
    margin = min(margin, 10 ** (0.12 * span))
    axis.set_xlim(fractions[0] / margin, fractions[-1] * margin)
    counts = [subset_counts(report, fraction) for fraction in fractions]
    labels = [f"{100 * f:.6g} %\n{p}\n{i}" for f, (p, i) in zip(fractions, counts, strict=True)]
    axis.set_xticks(fractions, labels)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.annotate("labels\npatients\nimages", (0, 0), (-8, -4), xycoords="axes fraction", ha="right", va="top",
                  textcoords="offset points", fontsize=9, color="0.35")  # fmt: skip
    axis.tick_params(axis="x", labelsize=9)


def _draw(
    axis: Any,
    rows: list[dict[str, Any]],
    name: str,
    fractions: list[float],
    shift: float,
    style: dict,
    beside: float = 1.0,
) -> Any:
    """Draw the line of a row and return it, or nothing where it has no figure."""
    own = {row["fraction"]: row for row in rows if row["row"] == name and row["value"] is not None}
    known = [fraction for fraction in fractions if fraction in own]
    if not known:
        return None
    places = np.array(known) * shift
    value, low, high = (
        np.array([np.nan if own[f][key] is None else own[f][key] for f in known])
        for key in ("value", "ci_low", "ci_high")
    )
    line = axis.plot(places, value, lw=0.9, ms=6, zorder=3, **style)[0]
    axis.vlines(places, low, high, color=style["color"], lw=1.6, zorder=2)
    for ends in (low, high):
        axis.plot(places, ends, ls="", marker="_", ms=6, color=style["color"], zorder=2)
    if beside != 1 and max(own[fraction]["draws"] for fraction in known) > 1:
        for place, fraction in zip(places, known, strict=True):
            values = [draw for draw in own[fraction]["by_draw"].values() if draw is not None]
            axis.plot(
                [place * beside] * len(values), values, ls="", marker=".", ms=3.5, color=style["color"], alpha=0.6
            )
    return line
