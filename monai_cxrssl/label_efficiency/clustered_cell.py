# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""AUCs of a grid with intervals over test patients and draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.metrics.clustered_auc import AUC_METHOD, ClusteredAUC
from monai_cxrssl.metrics.cohort import macro_mean

__all__ = ["ClusteredCell", "clustered_figure"]


@dataclass(frozen=True)
class ClusteredCell:
    """The AUCs of a cell's C classes, or a difference of those of several cells of the same test images."""

    terms: tuple[tuple[float, ClusteredAUC], ...]  #: sign and areas.

    def __sub__(self, other: ClusteredCell) -> ClusteredCell:
        return ClusteredCell((*self.terms, *((-sign, areas) for sign, areas in other.terms)))

    @classmethod
    def mean(cls, cells: Sequence[ClusteredCell]) -> ClusteredCell:
        """Return the mean of the AUCs of several cells."""
        return cls(tuple((sign / len(cells), areas) for cell in cells for sign, areas in cell.terms))

    @property
    def values(self) -> np.ndarray:
        """``(C,)``."""
        return sum((sign * part.areas for sign, part in self.terms[1:]), self.terms[0][0] * self.terms[0][1].areas)


def clustered_figure(cells: Mapping[int, ClusteredCell], classes: Sequence[str], confidence: float) -> dict[str, Any]:
    """Return the mean over draws of the macro AUC, and of each class, with intervals.

    The interval over patients is that of :class:`~monai_cxrssl.metrics.clustered_auc.ClusteredAUC`, of which one over
    draws, by Student's t, is independent: their reaches are squared and added.

    Args:
        cells: of each draw, one or more.

    Returns:
        Plain JSON values, ``None`` where there is no figure: ``value``, ``ci_low``, ``ci_high``, ``resamples``,
        ``method``, ``by_draw`` and ``per_class`` of the same.
    """
    from scipy.stats import t

    values, draws = np.stack([cell.values for cell in cells.values()]), len(cells)  # (D, C)
    terms = [(sign / draws, areas) for cell in cells.values() for sign, areas in cell.terms]
    stacked, one = ClusteredAUC.stack([areas for _, areas in terms]), np.eye(len(classes))
    known = np.isfinite(values).all(axis=0)
    mean = one[known].mean(axis=0) if known.any() else np.zeros(len(classes))
    rows = np.concatenate([mean[None], one * known[:, None]])
    ends = stacked.combined(np.hstack([sign * rows for sign, _ in terms]), confidence)
    by_draw = np.concatenate([macro_mean(values)[:, None], values], axis=1)  # (D, 1 + C)
    figures = []
    for column, (low, high) in zip(by_draw.T, ends, strict=True):
        value = float((np.full(draws, 1 / draws) * column).sum())
        if not math.isfinite(value):
            figures.append({**dict.fromkeys(("value", "ci_low", "ci_high")), "resamples": 0, "method": None})
            continue
        spread = 0.0
        if draws > 1:
            spread = float(t.ppf((1 + confidence) / 2, draws - 1) * np.std(column, ddof=1)) / math.sqrt(draws)
            low, high = value - math.hypot(value - low, spread), value + math.hypot(high - value, spread)
        lowest = -1.0 if any(sign < 0 for sign, _ in terms) else 0.0
        span = {"ci_low": max(float(low), lowest), "ci_high": min(float(high), 1.0)}
        figures.append({"value": value, **span, "resamples": 0, "method": AUC_METHOD})
    shown = {
        str(draw): float(row[0]) if math.isfinite(row[0]) else None for draw, row in zip(cells, by_draw, strict=True)
    }
    return {**figures[0], "by_draw": shown, "per_class": dict(zip(classes, figures[1:], strict=True))}
