# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""All figures of a run as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from record.cells import Cell, cells_of, further_cells
from record.claims import claim_text, verdicts
from record.curves import curve_of
from record.figures import Figure, Results, What
from record.rows import Row, Unit

__all__ = ["COLUMNS", "amount_text", "differing", "report_of", "reference_of"]

#: Figures of each row, in the order of the tables.
COLUMNS = (
    *(Cell(task, protocol, amount) for task in ("kermany", "chestxray14") for protocol in ("probe", "fine-tuned")
      for amount in (0.1, 1.0)),
    Cell("kermany", "with-lungs", 0.1), Cell("kermany", "shift", 1.0), Cell("chestxray14", "shift", 1.0),
    *(Cell("lungs", "fine-tuned", count) for count in (5, 10, 50)),
    Cell("lungs-adults", "fine-tuned", 10), Cell("infection", "fine-tuned", 50),
)  # fmt: skip
_MASKED = ("lungs", "lungs-adults", "infection")


def amount_text(cell: Cell) -> str:
    """Return share of the labels, or number of masks, in words."""
    return f"{cell.amount:g} masks" if cell.amount > 1 else f"{100 * cell.amount:g} %"


def reference_of(row: Row, rows: list[Row]) -> Row | None:
    """Return the random row of the same architecture."""
    return next((other for other in rows if other.encoder == row.encoder and not (other.bundle or other.start)), None)


def report_of(results: Results, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, tasks, figures, attention, curves, claims and cost of the cells that are there."""
    rows = results.rows
    further = [task for task in results.tasks["labelled"] if task not in {cell.task for cell in COLUMNS}]
    figures: dict[str, Any] = {}
    attention: dict[str, Any] = {}
    for row in rows:
        other = reference_of(row, rows)
        figures[row.name] = {}
        for cell in (*COLUMNS, *further_cells(further)):
            kinds = ["dice"] if cell.task in _MASKED else ["auc"]
            kinds += ["f1"] if cell.task == "kermany" and cell.protocol != "shift" else []
            kinds += ["shift"] if cell.protocol == "fine-tuned" and cell.amount == 1 else []
            for kind in kinds:
                what = What(cell, kind)
                key = f"{cell.task} {cell.protocol} {amount_text(cell)}{f' {kind}' if kind in ('f1', 'shift') else ''}"
                figures[row.name][key] = _entry(
                    results.figure(row, what),
                    results.difference(row, what, other) if other not in (None, row) else None,
                )
        tuned = Cell("kermany", "fine-tuned", 0.1)
        gaze = What(tuned, "attention")
        attention[row.name] = _entry(
            results.above_chance(row, tuned), results.difference(row, gaze, other) if other not in (None, row) else None
        )
    tasks = {name: value for name, value in results.tasks.items() if name not in ("labelled", "masked", "attention")}
    for kind in ("labelled", "masked"):
        tasks[kind] = {
            key: {name: value for name, value in task.items() if name not in ("labels", "pneumonia", "patient_numbers")}
            for key, task in results.tasks[kind].items()
        }
    return {
        "settings": dict(settings), "tasks": tasks, "figures": figures, "attention": attention,
        "curves": {row.name: _curve(results, row) for row in rows if row.bundle},
        "claims": [{"claim": claim_text(one.claim), "difference": _numbers(one.difference), "verdict": one.word,
                    "margin": one.claim.margin} for one in verdicts(results)],
        "cost": {"rows": {row.name: _cost(results, row, further) for row in rows}},
    }  # fmt: skip


def _entry(value: Figure | None, difference: Figure | None) -> dict[str, Any]:
    return {"value": _numbers(value), "difference": _numbers(difference)}


def _numbers(figure: Figure | None) -> list[float] | None:
    return None if figure is None else [*(round(float(number), 5) for number in figure[:3]), figure.seeds]


def _curve(results: Results, row: Row) -> dict[str, Any] | None:
    curve = curve_of(results, row)
    if curve is None:
        return None
    return {
        "steps": curve.steps.tolist(), "areas": {task: area.tolist() for task, area in curve.areas.items()},
        "losses": curve.losses.tolist(), "trivial_loss": curve.trivial,
        "reconstruction_loss": curve.reconstruction, "seeds": curve.seeds,
        "probe_gain": round(curve.probe_gain, 4),
        "loss_fall": None if curve.loss_fall != curve.loss_fall else round(curve.loss_fall, 4), "flat": curve.flat,
    }  # fmt: skip


def _cost(results: Results, row: Row, further: list[str]) -> dict[str, Any]:
    """Minutes of processor time: of a pretraining (start and decoding included), and of all cells."""
    records = [record for seed in range(row.seeds) if (record := results.pretraining(row, seed))]
    cells = [content for seed in range(row.seeds) for _, cell in cells_of(Unit(row, seed), further)
             if (content := results.cell(row, seed, cell))]  # fmt: skip
    found: dict[str, Any] = {"encoder": row.encoder, "cells": len(cells)}
    found["cells_core_minutes"] = sum(content["core_seconds"] for content in cells) / 60
    if records:
        seconds = sum(record["core_seconds"] for record in records)
        found["pretrainings"] = len(records)
        found["pretraining_core_minutes"] = seconds / 60
        found["images_per_core_second"] = sum(record["epochs"] * record["films"] for record in records) / seconds
    return found


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Say which figure is the first that is not the same in two reports, ``None`` where all are."""
    for part in ("settings", "tasks", "figures", "attention", "curves", "claims"):
        if found := _first_difference(old.get(part), new.get(part), part):
            return f"The two runs differ: {found}."
    return None


def _first_difference(old: Any, new: Any, where: str) -> str | None:
    if (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and any(isinstance(part, dict) for part in old)
    ):
        old, new = (dict(enumerate(part)) for part in (old, new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                return f"only one of them has {where}, {key}"
            if found := _first_difference(old[key], new[key], f"{where}, {key}"):
                return found
        return None
    return None if old == new else f"{where} is {new} where the earlier one has {old}"
