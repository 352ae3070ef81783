# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Table and conclusion of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["best_sentence", "params_text", "ranked_trials", "tuning_table"]


def tuning_table(report: Mapping[str, Any]) -> str:
    """Lay out the trials, the best first: options, the value at each rung, epochs, and what became of it.

    Args:
        report: content of ``tuning.json``.
    """
    options = list(report["space"])
    shares = [f"{100 * rung['share']:.0f} %" for rung in report["rungs"]]
    rows = [["trial", *options, *shares, "best epoch", "status", "time"]]
    for trial in ranked_trials(report):
        values = [f"{value:.4f}" for value in trial["values"]] + ["-"] * len(shares)
        rows.append(
            [
                str(trial["number"]), *(_text(trial["params"][name]) for name in options), *values[: len(shares)],
                f"{trial['best_epoch']} of {trial['epochs']}" if trial["epochs"] else "-", trial["status"],
                f"{trial['seconds']:.0f} s",
            ]
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    failed = [f"trial {trial['number']}: {trial['problem']}" for trial in report["trials"] if trial["problem"]]
    return "\n".join([f"{report['metric']} on validation, at shares of the training", "", *lines, *failed])


def best_sentence(report: Mapping[str, Any]) -> str:
    """Say in one sentence what came out."""
    finished = [trial for trial in ranked_trials(report) if trial["status"] == "finished"]
    data = report["data"]["validation"]
    where = f"on the {data['images']} validation images of {data['patients']} patients"
    count, metric = len(report["trials"]), report["metric"]
    if not finished:
        return f"None of the {count} combinations gave a {metric} {where}, so no options are chosen."
    best = finished[0]
    told = f"Of {count} combinations the best {metric} {where}, {best['value']:.3f}, is that of"
    usual = next((trial for trial in report["trials"] if trial["params"] == report["usual"]), None)
    if usual is None:
        recipe = "the recipe's own values were not among them"
    elif usual is best:
        recipe = "which are the recipe's own values"
    elif usual["value"] is None:
        recipe = "while the recipe's own values failed"
    else:
        share = 100 * report["rungs"][len(usual["values"]) - 1]["share"]
        recipe = f"while the recipe's own ({params_text(usual['params'])}) gave {usual['value']:.3f} "
        recipe += f"at {share:.0f} % of the training"
    note = "since the same images chose it, expect less on others"
    return f"{told} {params_text(best['params'])}, {recipe}; {note}."


def ranked_trials(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the trials, those that went further first, then by value; failed ones last."""

    def rank(trial: Mapping[str, Any]) -> tuple:
        failed = trial["status"] == "failed"
        return failed, -len(trial["values"]), -(trial["value"] or 0.0), trial["number"]

    return sorted(report["trials"], key=rank)


def params_text(params: Mapping[str, Any]) -> str:
    """Return options as one says them: ``learning_rate 0.001, weight_decay 0.01``."""
    return ", ".join(f"{name} {_text(value)}" for name, value in params.items())


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
