# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report of a search: JSON, table, plot."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.files import atomic_write, write_json
from monai_cxrssl.tuning.plot import plot_tuning
from monai_cxrssl.tuning.table import best_sentence, ranked_trials, tuning_table

__all__ = ["tuning_report", "write_tuning"]

_PACKAGES = ("monai-cxrssl", "monai", "torch", "numpy", "optuna")


def tuning_report(
    settings: Mapping[str, Any],
    source: Datalist,
    metric: str,
    space: Mapping[str, Sequence[Any]],
    usual: Mapping[str, Any],
    rungs: Sequence[Mapping[str, Any]],
    trials: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the content of ``tuning.json``.

    Args:
        settings: of the command.
        source: training and validation images.
        metric: by which was chosen.
        space: values by option.
        usual: those of the recipe.
        rungs: ``share``, ``trials`` and ``kept`` each.
        trials: rows of :meth:`~monai_cxrssl.tuning.trial_run.TrialRuns.described`.

    Returns:
        All that was given, ``environment``, ``best`` (values by option, or ``None``) and ``sentence``.
    """
    rows = [
        {**trial, "validation": [{"epoch": row["epoch"], "value": row.get(metric)} for row in trial["validation"]]}
        for trial in trials
    ]
    data: dict[str, Any] = {"name": source.name}
    for split in ("training", "validation"):
        items = source.splits[split]
        data[split] = {"images": len(items), "patients": len({item["patient_id"] for item in items})}
    report: dict[str, Any] = {
        "settings": dict(settings),
        "environment": {
            **{name: version(name) for name in _PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "command": sys.orig_argv,
        },
        "data": data, "metric": metric, "space": dict(space), "usual": dict(usual), "rungs": list(rungs),
        "trials": rows,
    }  # fmt: skip
    first = ranked_trials(report)[0]
    report["best"] = first["params"] if first["status"] == "finished" else None
    return {**report, "sentence": best_sentence(report)}


def write_tuning(report: Mapping[str, Any], folder: Path) -> str:
    """Write ``tuning.json``, ``tuning.txt`` and ``tuning.png``; return the text."""
    text = f"{tuning_table(report)}\n\n{report['sentence']}"
    write_json(report, folder / "tuning.json")
    plot_tuning(report, folder / "tuning.png")
    with atomic_write(folder / "tuning.txt") as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")
    return text
