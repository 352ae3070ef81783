# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ROC and precision-recall curves with operating points."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.plots.canvas import FADED, MARKERS, canvas, line_style, no_plot

__all__ = ["draw_ranking"]

# More lines than this cannot be followed to their ends anyway; their figures are in the table.
_MOST_CLASSES = 28


def draw_ranking(
    cohort: Cohort, path: str | os.PathLike, points: Mapping[str, Sequence[Any]] | Sequence[Any] | None = None
) -> bool:
    """Draw both curves of every class against the rest.

    Return whether a class could be drawn; if none could, there is no file.

    Args:
        cohort: of C classes; a class needs positives, and negatives, of two patients, as in the tables.
        points: C thresholds, numbers or :class:`~monai_cxrssl.metrics.OperatingPoint`, or some of them by rule; marked
            where they lie on these images. NaN marks nothing.

    Raises:
        DatalistError: another number of thresholds.
    """
    from matplotlib.lines import Line2D
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    scores, labels, names, reasons = cohort.scores, cohort.labels, cohort.classes, cohort.reasons()
    rules: Mapping[str, Sequence[Any]] = (
        {} if points is None else points if isinstance(points, Mapping) else {"": points}
    )
    for rule, given in rules.items():
        if len(given) != len(names):
            raise DatalistError(f"There are {len(given)} thresholds {rule!r} for scores of {len(names)} classes.")
    drawn = [c for c, reason in enumerate(reasons) if not reason][:_MOST_CLASSES]
    if not drawn:
        return no_plot(path)
    few = len(drawn) <= 3
    entries = []
    columns = 1 if few else 2
    lines = -(-(min(len(names), _MOST_CLASSES) + 1) // columns) + -(-len(rules) // columns)
    with canvas(path, 6.8, 3.7 + 0.2 * lines) as figure:
        roc, pr = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color=FADED, linewidth=1, linestyle=":", zorder=1)
        for number, c in enumerate(drawn):
            known = ~np.isnan(labels[:, c])
            own, truth = scores[known, c], labels[known, c]
            style = line_style(number)
            false, true, _ = roc_curve(truth, own)
            precision, recall, _ = precision_recall_curve(truth, own)
            roc.plot(false, true, linewidth=1.7, **style)
            pr.plot(recall, precision, drawstyle="steps-post", linewidth=1.7, **style)
            if few:
                pr.axhline(truth.mean(), color=style["color"], linewidth=1, linestyle=":", zorder=1)
            figures = f"AUROC {auc(false, true):.3f}, AP {average_precision_score(truth, own):.3f}"
            entries.append((Line2D([], [], linewidth=1.7, **style), f"{printable(names[c], 22)}: {figures}"))
            for place, given in enumerate(rules.values()):
                limit = float(getattr(given[c], "threshold", given[c]))
                if np.isnan(limit):
                    continue
                called = own >= limit
                marker: dict[str, Any] = {"marker": MARKERS[place % len(MARKERS)], "markersize": 7, "linestyle": ""}
                marker |= {"markerfacecolor": style["color"], "markeredgecolor": "white", "clip_on": False, "zorder": 4}
                roc.plot([called[truth == 0].mean()], [called[truth == 1].mean()], **marker)
                if called.any():
                    pr.plot([called[truth == 1].mean()], [truth[called].mean()], **marker)
        for c in [c for c, reason in enumerate(reasons) if reason][: _MOST_CLASSES - len(drawn)]:
            entries.append((Line2D([], [], linestyle=""), f"{printable(names[c], 22)}: not assessable"))
        entries.append((Line2D([], [], color=FADED, linewidth=1, linestyle=":"), "chance"))
        for place, rule in enumerate(rules):
            marker = {"marker": MARKERS[place % len(MARKERS)], "color": FADED, "markersize": 7, "linestyle": ""}
            words = f"operating point: {printable(rule, 40)}" if rule else "operating point"
            entries.append((Line2D([], [], **marker), words))
        roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC")
        pr.set(xlabel="sensitivity (recall)", ylabel="PPV (precision)", title="Precision and recall")
        for axes in (roc, pr):
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
            axes.grid(linewidth=0.6)
        handles, texts = zip(*entries, strict=True)
        figure.legend(handles, texts, loc="outside lower left", ncols=columns, frameon=False)
    return True
