# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Paired AUC and lung attention of models from several starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from monai_cxrssl.curricula.claims import fraction_claims
from monai_cxrssl.data.datalists.predictions import Predictions, take_predictions
from monai_cxrssl.label_efficiency.analysis import label_efficiency
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, ResamplingPlan
from monai_cxrssl.report.evaluation_files import split_predictions

__all__ = ["METRICS", "Start", "compare_starts"]

#: What is compared; the measures are those of the checks of an evaluation.
METRICS = ("macro_auc", "lung_attention_excess", "pfs", "lung_area", "pointing", "saliency_iou")
_KEPT = ("value", "ci_low", "ci_high", "draws", "reason")


@dataclass(frozen=True)
class Start:
    """What models were fine-tuned from."""

    name: str
    kind: str  #: ``"scratch"``, ``"given"``, ``"single task"`` or ``"curriculum"``.


def compare_starts(
    tables: Mapping[tuple[str, float, int], Predictions],
    starts: Sequence[Start],
    fractions: Sequence[float],
    draws: int,
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> dict[str, Any]:
    """Compare models by AUC and by attention on the lungs, each with scratch and with the best single task.

    Figures, intervals and pairing are those of :func:`~monai_cxrssl.label_efficiency.label_efficiency`; attention is
    ``lung_attention_excess``, the mean of PFS minus lung area. At each fraction, the best single task and the best
    curriculum are those of the highest macro AUC on validation, so that the test split chooses nothing.

    Args:
        tables: rows of split ``test`` and ``validation``, by start, fraction and draw.
        starts: the first is scratch, with which the others are compared.

    Returns:
        Plain JSON values: ``rows`` (one per fraction and start: ``start``, ``kind``, ``fraction``, ``validation_auc``,
        a figure of each of :data:`METRICS`, and under ``minus`` their paired differences from scratch, from the best
        single task and from each given start, by these words), ``chosen`` (per fraction), ``claims``, ``test``
        (counts), ``notes`` and ``problems`` (why a table could not be used).
    """
    test, validation = {}, {}
    for cell, table in tables.items():
        parts = split_predictions(table)[0]
        test[cell] = _with_excess(parts["test"])
        if parts["validation"] is not None:
            validation[cell] = parts["validation"]
    names = [start.name for start in starts]
    on_validation = _figures(
        label_efficiency(validation, names, fractions, draws, "macro_auc", ResamplingPlan(1)), names
    )
    films = {metric: _on_common_films(test, metric) for metric in METRICS}
    reports = {metric: label_efficiency(films[metric], names, fractions, draws, metric, plan) for metric in METRICS}
    figures = {metric: _figures(report, names) for metric, report in reports.items()}
    rows: list[dict[str, Any]] = []
    claims, chosen = [], []
    for fraction in fractions:
        best = {
            kind: _best([start.name for start in starts if start.kind == kind], fraction, on_validation)
            for kind in ("single task", "curriculum")
        }
        chosen.append({"fraction": fraction, **{f"best_{kind.split()[0]}": name for kind, name in best.items()}})
        own: dict[str, dict[str, Any]] = {
            start.name: {"start": start.name, "kind": start.kind, "fraction": fraction} for start in starts
        }
        for name, row in own.items():
            row["validation_auc"] = on_validation[name, fraction]["value"]
            row |= {metric: _kept(figures[metric][name, fraction]) for metric in METRICS}
            row["minus"] = {}
        references = {"scratch": names[0], "best single": best["single task"]}
        references |= {start.name: start.name for start in starts if start.kind == "given"}
        for words, reference in references.items():
            if reference is None:
                continue
            others = [reference, *(name for name in names if name != reference)]
            for metric in METRICS:
                paired = label_efficiency(films[metric], others, [fraction], draws, metric, plan)
                for (name, _), difference in _figures(paired, others, "differences").items():
                    if name != names[0]:
                        own[name]["minus"].setdefault(words, {})[metric] = _kept(difference)
        rows += own.values()
        claims += fraction_claims(fraction, list(own.values()), best)
    first = reports[METRICS[0]]
    seen = reports["lung_attention_excess"]["test"]
    notes = [
        *_notes(rows, draws, plan),
        f"Attention: the {seen['images']} test images, of {seen['patients']} patients, that every model has it of.",
    ]
    problems = {" ".join(map(str, cell)): reason for cell, reason in first["refused"].items()}
    return {
        "confidence": plan.confidence, "resamples": plan.resamples, "test": first["test"], "rows": rows,
        "chosen": chosen, "claims": claims, "notes": notes, "problems": problems,
    }  # fmt: skip


def _notes(rows: Sequence[Mapping[str, Any]], draws: int, plan: ResamplingPlan) -> list[str]:
    """What a reader must know of the intervals."""
    count = sum(
        minus.get(metric, {}).get("value") is not None
        for row in rows
        for minus in row["minus"].values()
        for metric in ("macro_auc", "lung_attention_excess")
    )
    over = "test patients" if draws == 1 else f"test patients and of the {draws} draws"
    return [
        f"Brackets: {100 * plan.confidence:g} % intervals by resampling of the {over}. Differences are paired: same "
        "patients, same draws.",
        "Every start is one pretraining: how much another would differ is not in the intervals. Repeat with --seed.",
        f"{count} differences are shown, their intervals not widened for that many comparisons.",
    ]


def _with_excess(table: Predictions) -> Predictions:
    """Add PFS minus lung area, what attention is compared by, where both are measured."""
    measures = table.measures
    if "pfs" not in measures or "lung_area" not in measures:
        return table
    return replace(table, measures={**measures, "lung_attention_excess": measures["pfs"] - measures["lung_area"]})


def _on_common_films(tables: Mapping[Any, Predictions], metric: str) -> dict[Any, Predictions]:
    """Take the images that every table with a measure has it of: means beside each other have to be of the same."""
    having = {cell: table for cell, table in tables.items() if metric in table.measures}
    known = [
        {item["image"] for item, value in zip(table.items, table.measures[metric], strict=True) if np.isfinite(value)}
        for table in having.values()
    ]
    common = set.intersection(*known) if known else set()
    kept = {
        cell: take_predictions(table, np.array([item["image"] in common for item in table.items], dtype=bool))
        for cell, table in having.items()
    }
    return {**tables, **kept}


def _figures(report: Mapping[str, Any], names: Sequence[str], kind: str = "figures") -> dict[tuple[str, float], Any]:
    """Figures, or differences from the first, by name and fraction."""
    listed = names if kind == "figures" else names[1:]
    fractions = list(dict.fromkeys(entry["fraction"] for entry in report["figures"]))
    return dict(zip(product(listed, fractions), report[kind], strict=True))


def _kept(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {key: figure[key] for key in _KEPT}


def _best(names: Sequence[str], fraction: float, figures: Mapping[tuple[str, float], Any]) -> str | None:
    known = [name for name in names if figures[name, fraction]["value"] is not None]
    return max(known, key=lambda name: figures[name, fraction]["value"], default=None)
