# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Ensemble compared with its members, paired over test patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.predictions import Predictions
from monai_cxrssl.label_efficiency.analysis import GridValues
from monai_cxrssl.label_efficiency.clustered_cell import ClusteredCell
from monai_cxrssl.label_efficiency.measures import assessed
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, ResamplingPlan

__all__ = ["ENSEMBLE", "MEAN", "ensemble_figures"]

MEAN, ENSEMBLE = "mean of members", "ensemble"


def ensemble_figures(
    members: Mapping[str, Predictions],
    ensemble: Predictions | None,
    metric: str = "macro_auc",
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> dict[str, Any]:
    """Return a metric of each member, of their mean and of the ensemble, with intervals over the test patients.

    The mean is of the members' values, so what one of them is worth, where the ensemble is one more model. The
    intervals are those of :func:`~monai_cxrssl.label_efficiency.label_efficiency` for one draw; in a difference all
    models are on the same patients.

    Args:
        members: predictions of the test images by name.
        ensemble: predictions of the same images; ``None`` where there is no ensemble.
        metric: one of :data:`~monai_cxrssl.label_efficiency.measures.METRICS`.

    Returns:
        Plain JSON values (``None`` where there is no figure, with its ``reason``): ``metric``, ``confidence``, ``test``
        (counts), ``figures`` and ``differences`` (the ensemble less each ``model``; an entry has ``value``,
        ``ci_low``, ``ci_high``, ``per_class`` ...), ``spread`` (standard deviation of the members' values) and
        ``refused``: the reason for each model whose predictions could not be used.
    """
    models = {**members, **({} if ensemble is None else {ENSEMBLE: ensemble})}
    grid = GridValues({(name, 1.0, 0): assessed(found, metric) for name, found in models.items()}, metric, plan)
    values: dict[str, Any] = {name: value for (name, _, _), value in grid.values.items()}
    own = [values[name] for name in members if name in values]
    if own:
        values[MEAN] = ClusteredCell.mean(own) if isinstance(own[0], ClusteredCell) else np.mean(own, axis=0)
    figures = []
    for name in (*members, MEAN, *([] if ensemble is None else [ENSEMBLE])):
        reason = {"reason": grid.absent[name]} if name in grid.absent else {}
        figures.append({"model": name, **_figure(grid, values.get(name)), **reason})
    differences = []
    for name in (*members, MEAN) if ENSEMBLE in values else ():
        if name in values:
            differences.append({"model": name, **_figure(grid, values[ENSEMBLE] - values[name], 1)})
    single = [entry["value"] for entry in figures if entry["model"] in members and entry["value"] is not None]
    return {
        "metric": metric, "confidence": plan.confidence, "test": grid.counts, "figures": figures,
        "differences": differences, "spread": float(np.std(single, ddof=1)) if len(single) > 1 else None,
        "refused": {name: reason for (name, _, _), reason in grid.refused.items()},
    }  # fmt: skip


def _figure(grid: GridValues, value: Any, differences: int = 0) -> dict[str, Any]:
    found = grid.figure({} if value is None else {0: value}, differences)
    return {name: entry for name, entry in found.items() if name not in ("by_draw", "draws")}
