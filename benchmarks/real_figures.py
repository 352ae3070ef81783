# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From the cells of ``real_cxr.py`` to its figures: what a run must reproduce, and apart from it what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from draw_intervals import auc_of_draw, intervals, mean_of_draw
from pretraining_runs import Run, file_name
from real_cells import FRACTIONS, MASKS, PROTOCOLS, cells_of
from real_tasks import TRIED, LabelTask, MaskTask, Tasks

from monai_cxrssl.metrics import attention_above_chance, bootstrap_mean

__all__ = ["amount_text", "differing", "figures_of"]

#: Cells by task, protocol and amount, then by draw.
Grid = dict[tuple[str, str, float], dict[int, dict[str, np.ndarray]]]


def amount_text(protocol: str, amount: float) -> str:
    """Key of a figure: ``linear 10 %`` or ``fine-tuned 10 masks``."""
    return f"{protocol} {amount:g} masks" if amount > 1 else f"{protocol} {100 * amount:g} %"


def figures_of(runs: Sequence[Run], settings: Mapping[str, Any], work: Path, tasks: Tasks) -> dict[str, Any]:
    """Return ``{"tasks", "figures", "attention", "cost"}`` of the cells that are there.

    A figure is ``{"value", "difference", "draws"}``, each of the first two a value and its interval, or
    ``{"no_figure": why}``. Without the cells of the random encoder there is no difference.
    """
    grids = {run.name: _read(work / "cells" / file_name(run.name), settings, tasks) for run in runs}
    random = {run.encoder: run.name for run in runs if not run.bundle}
    figures: dict[str, Any] = {}
    attention: dict[str, Any] = {}
    cost: dict[str, Any] = {"runs": {}}
    for run in runs:
        grid, base = grids[run.name], grids.get(random.get(run.encoder, ""))
        figures[run.name] = {
            key: {
                amount_text(protocol, fraction): _label_figure(grid, base, tasks, key, protocol, fraction)
                for protocol in PROTOCOLS
                for fraction in FRACTIONS
            }
            for key in tasks.labelled
        }
        figures[run.name]["lungs"] = {
            amount_text("fine-tuned", count): _mask_figure(grid, base, tasks.lungs, count) for count in MASKS
        }
        attention[run.name] = _attention(grid, base, tasks)
        cost["runs"][run.name] = _cost(run, grid, work, len(tasks.corpus), settings["epochs"])
    described = {key: _described(task) for key, task in tasks.labelled.items()}
    lungs = {"name": tasks.lungs.name, "training": _counts(tasks.lungs.training), "test": _counts(tasks.lungs.test)}
    corpus = _counts([{"patient_id": (item["source"], item["patient_id"])} for item in tasks.corpus])
    return {
        "tasks": {**described, "lungs": lungs, "corpus": corpus},
        "figures": figures, "attention": attention, "cost": cost,
    }  # fmt: skip


def _described(task: LabelTask) -> dict[str, Any]:
    described: dict[str, Any] = {"name": task.name, "classes": list(task.data.classes)}
    for split in ("training", "test"):
        by_class = np.bincount(task.labels(split), minlength=len(task.data.classes)).tolist()
        described[split] = _counts(task.data.items(split)) | {"by_class": by_class}
    return described


def _counts(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {"films": len(items), "patients": len({item["patient_id"] for item in items})}


def _read(folder: Path, settings: Mapping[str, Any], tasks: Tasks) -> Grid:
    grid: Grid = {}
    for cell in cells_of(tasks, settings["draws"], settings["full_draws"]):
        file = folder / cell.file
        if file.is_file():
            with np.load(file) as stored:
                grid.setdefault((cell.task, cell.protocol, cell.amount), {})[cell.draw] = dict(stored)
    return grid


def _shared(grid: Grid, base: Grid | None, key: tuple[str, str, float]) -> tuple[list[int], bool]:
    """Draws to show, and whether the random encoder has all of them."""
    draws = sorted(grid.get(key, {}))
    return draws, base is not None and set(draws) <= base.get(key, {}).keys()


def _result(found: dict[str, list[float]], draws: int, paired: bool) -> dict[str, Any]:
    if not paired:
        found.pop("difference")
    return {**found, "draws": draws}


def _label_figure(
    grid: Grid, base: Grid | None, tasks: Tasks, key: str, protocol: str, fraction: float
) -> dict[str, Any]:
    task = tasks.labelled[key]
    if not task.draws(fraction, 1):
        kept = [task.kept(fraction, draw) for draw in range(TRIED)]
        patients = len({item["patient_id"] for item in kept[0]})
        return {
            "no_figure": f"{100 * fraction:g} % of the labels is {patients} patient{'s' * (patients != 1)} with at "
            f"most {max(map(len, kept))} films, and in none of {TRIED} draws a film of each class"
        }
    draws, paired = _shared(grid, base, (key, protocol, fraction))
    if not draws:
        return {"no_figure": "not run"}
    labels, patients_of = task.labels("test"), task.patients()

    def areas(cells: Grid) -> list[Any]:
        return [auc_of_draw(cells[key, protocol, fraction][draw]["scores"], labels) for draw in draws]

    other = areas(base) if paired and base is not None else areas(grid)
    return _result(intervals(areas(grid), other, patients_of, labels), len(draws), paired)


def _mask_figure(grid: Grid, base: Grid | None, task: MaskTask, count: int) -> dict[str, Any]:
    if count > len(task.training):
        return {"no_figure": f"only {len(task.training)} films to learn from have a mask"}
    key = ("lungs", "fine-tuned", count)
    draws, paired = _shared(grid, base, key)
    if not draws:
        return {"no_figure": "not run"}

    def dice(cells: Grid) -> list[Any]:
        return [mean_of_draw(cells[key][draw]["dice"]) for draw in draws]

    other = dice(base) if paired and base is not None else dice(grid)
    return _result(intervals(dice(grid), other, task.patients()), len(draws), paired)


def _attention(grid: Grid, base: Grid | None, tasks: Tasks) -> dict[str, Any]:
    """Share of the saliency on the lungs beside chance, the mean of each film over the draws."""
    key = ("covid", "fine-tuned", 1.0)
    draws, paired = _shared(grid, base, key)
    if not draws:
        return {"no_figure": "not run"}
    films = [item for item in tasks.labelled["covid"].data.items("test") if item.get("lung_mask") is not None]
    patients = [item["patient_id"] for item in films]

    def shares(cells: Grid, name: str = "pfs") -> np.ndarray:
        # A film without any saliency in a draw has no share there, and none at all where every draw lacks it.
        values = np.ma.masked_invalid([cells[key][draw][name] for draw in draws])
        return np.ma.filled(values.mean(axis=0), np.nan)

    found = attention_above_chance(shares(grid), shares(grid, "area"), patients)
    result: dict[str, Any] = {
        "on_lungs": found.pfs, "chance": found.area, "films": found.images, "patients": found.patients,
        "maximum_on_lungs": float(np.nanmean(shares(grid, "pointing"))) if found.images else None,
        "above_chance": [found.difference.value, found.difference.ci_low, found.difference.ci_high],
        "draws": len(draws),
    }  # fmt: skip
    if paired and base is not None:
        other = bootstrap_mean(shares(grid) - shares(base), patients)
        result["difference"] = [other.value, other.ci_low, other.ci_high]
    return _without_nan(result)


def _without_nan(value: Any) -> Any:
    """NaN is no JSON; a figure that does not exist is null."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cost(run: Run, grid: Grid, work: Path, films: int, epochs: int) -> dict[str, Any]:
    """Minutes of processor time: of pretraining (start and decoding included), and of all cells."""
    seconds = [float(cell["core_seconds"]) for cells in grid.values() for cell in cells.values()]
    found: dict[str, Any] = {"encoder": run.encoder, "cells": len(seconds), "cells_core_minutes": sum(seconds) / 60}
    file = work / "pretraining" / file_name(run.name) / "cost.json"
    if run.bundle and file.is_file():
        cost = json.loads(file.read_text(encoding="utf-8"))
        found |= {
            "pretraining_core_minutes": cost["core_seconds"] / 60,
            "images_per_core_second": films * epochs / cost["core_seconds"],
            "resumed": cost["resumed"],
        }
    return found


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Say which figure is the first that is not the same in two reports, ``None`` where all are."""
    for part in ("settings", "tasks", "figures", "attention"):
        found = _first_difference(old.get(part), new.get(part), part)
        if found:
            return f"The two runs differ: {found}."
    return None


def _first_difference(old: Any, new: Any, where: str) -> str | None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                return f"only one of them has {where}, {key}"
            found = _first_difference(old[key], new[key], f"{where}, {key}")
            if found:
                return found
        return None
    return None if old == new else f"{where} is {new} where the earlier one has {old}"
