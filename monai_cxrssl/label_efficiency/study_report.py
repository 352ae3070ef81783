# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report of a grid, from its finished cells."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.predictions import Predictions, load_predictions
from monai_cxrssl.errors import CXRSSLError
from monai_cxrssl.label_efficiency.analysis import CellName, drift_figures, label_efficiency
from monai_cxrssl.label_efficiency.corrupted import predictions_name
from monai_cxrssl.label_efficiency.grid import Cell, CellResult
from monai_cxrssl.label_efficiency.measures import ATTENTION, assessed
from monai_cxrssl.label_efficiency.rows import PIXELS, Row
from monai_cxrssl.label_efficiency.trained import TrainedCell

__all__ = ["describe_row", "environment", "study_figures"]

_PACKAGES = ("monai-cxrssl", "monai", "torch", "numpy", "scipy", "pytorch-ignite", "segmentation-models-pytorch")
#: From a cell of a fine-tuned row to what measures its network.
Opener = Callable[[Cell], TrainedCell]


def study_figures(
    cells: Sequence[Cell],
    results: Sequence[CellResult],
    rows: Mapping[str, Row],
    fractions: Sequence[float],
    draws: int,
    metrics: Sequence[str],
    drifts: Sequence[str],
    reference: str,
    opened: Opener,
) -> dict[str, Any]:
    """Return ``cells`` (how each ended), ``metrics`` and ``drift`` (figures by metric), in plain JSON values."""
    predictions: dict[CellName, Predictions] = {}
    drifted: dict[str, dict[CellName, Predictions]] = {name: {} for name in drifts}
    entries: dict[CellName, dict[str, Any]] = {}
    for cell, result in zip(cells, results, strict=True):
        name = (cell.row, cell.fraction, cell.draw)
        status, problem = result.status, result.problem
        if status == "finished":
            try:
                trained = opened(cell) if rows[cell.row].how == "finetune" else None
                predictions[name] = _measured(cell, trained, ATTENTION in metrics)
                if trained is not None:
                    trained.drift(drifts)
                for drift in drifts:
                    drifted[drift][name] = load_predictions(cell.folder / predictions_name(drift))
            except CXRSSLError as error:
                status, problem = "failed", str(error)
        entries[name] = {
            "row": cell.row, "fraction": cell.fraction, "draw": cell.draw, "status": status, "problem": problem,
            "seconds": None if result.seconds != result.seconds else round(result.seconds, 3),
            "folder": str(cell.folder), "command": list(cell.command), "key": cell.key,
        }  # fmt: skip
    figures: dict[str, Any] = {}
    drift_of: dict[str, Any] = {}
    for metric in metrics:
        clean = {name: assessed(found, metric) for name, found in predictions.items()}
        figures[metric] = label_efficiency(clean, list(rows), fractions, draws, metric, reference=reference)
        for name, problem in figures[metric].pop("refused").items():
            entries[name] |= {"status": "failed", "problem": problem}
        if drifts and metric != ATTENTION:
            changed = {
                drift: {name: assessed(found, metric) for name, found in of_drift.items()}
                for drift, of_drift in drifted.items()
            }
            drift_of[metric] = drift_figures(
                clean, changed, list(rows), fractions, draws, metric, reference=reference
            )  # fmt: skip
    return {"cells": list(entries.values()), "metrics": figures, "drift": drift_of}


def _measured(cell: Cell, trained: TrainedCell | None, attention: bool) -> Predictions:
    found = load_predictions(cell.predictions)
    shares = trained.attention() if attention and trained is not None else {}
    if not shares:
        return found
    values = np.array([shares.get(str(item["image"]), np.nan) for item in found.items])
    return replace(found, measures={**found.measures, ATTENTION: values})


def describe_row(row: Row) -> dict[str, Any]:
    """Return a row in plain JSON values."""
    init = {**asdict(row.init), "files": [str(path) for path in row.init.files]}
    return {
        "name": row.name, "how": row.how, "bundle": row.bundle, "config_file": str(row.config),
        "encoder_name": row.encoder, "init": None if row.how == PIXELS else init, "options": list(row.words),
    }  # fmt: skip


def environment() -> dict[str, Any]:
    """Return versions, platform and the command of this process."""
    versions: dict[str, Any] = {name: version(name) for name in _PACKAGES}
    return versions | {
        "python": platform.python_version(), "platform": platform.platform(), "command": sys.orig_argv
    }  # fmt: skip
