# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Probe and loss on the way of each pretraining, and whether both had flattened at its end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from record.cells import Cell
from record.figures import Results
from record.rows import Row

__all__ = ["FLAT_LOSS", "FLAT_PROBE", "Curve", "curve_of"]

#: What the last quarter of the steps changes at most where a curve is flat: AUC on validation, and share of the loss.
FLAT_PROBE, FLAT_LOSS = 0.01, 0.03
_CURVE = Cell("kermany", "curve", 0.1)


class Curve(NamedTuple):
    """The way of a pretraining, the mean over its seeds.

    Attributes:
        steps: at which the encoder was probed, ``(P,)``, the last at the end.
        areas: AUC on validation by task, ``(P,)`` each.
        losses: step and mean loss since the one before, ``(L, 2)``.
        trivial: loss of an answer that nobody had to learn, if there is such.
        reconstruction: the part of the loss, at the end, that ``trivial`` is of, where the loss has others too.
        core_minutes: of a pretraining.
        seeds: how many.
    """

    steps: np.ndarray
    areas: dict[str, np.ndarray]
    losses: np.ndarray
    trivial: float | None
    reconstruction: float | None
    core_minutes: float
    seeds: int

    @property
    def probe_gain(self) -> float:
        """AUC that the last quarter of the steps brought, the mean over tasks."""
        early = np.interp(0.75 * self.steps[-1], self.steps, np.mean(list(self.areas.values()), axis=0))
        return float(np.mean([area[-1] for area in self.areas.values()]) - early)

    @property
    def loss_fall(self) -> float:
        """Share of the loss by which the last quarter of the steps lowered it; of a curriculum, its last task's."""
        last = self.losses[:, 0] > 0.9 * self.steps[-1]
        before = (self.losses[:, 0] > 0.65 * self.steps[-1]) & (self.losses[:, 0] <= 0.8 * self.steps[-1])
        if not last.any() or not before.any():
            return float("nan")
        early = self.losses[before, 1].mean()
        return float((early - self.losses[last, 1].mean()) / abs(early))

    @property
    def flat(self) -> bool:
        """Whether the probe and the loss had flattened."""
        return self.probe_gain < FLAT_PROBE and not self.loss_fall >= FLAT_LOSS


def curve_of(results: Results, row: Row) -> Curve | None:
    """Return the curve of a row, ``None`` where no seed has one."""
    rows: list[Any] = []
    records: list[Any] = []
    tasks: list[str] = []
    for seed in range(row.seeds):
        cell, record = results.cell(row, seed, _CURVE), results.pretraining(row, seed)
        if cell and record:
            rows.append(np.array([[record["steps"] if step < 0 else step, *areas] for step, *areas in cell["curve"]]))
            records.append(record)
            tasks = cell["tasks"]
    # Resumed runs may lack a snapshot; only curves of equal steps are averaged.
    rows = [one for one in rows if one.shape == rows[0].shape]
    if not rows:
        return None
    mean = np.mean(rows, axis=0)
    losses = [np.array(record["losses"]) for record in records]
    losses = [one for one in losses if one.shape == losses[0].shape]
    areas = {task: mean[:, 1 + number] for number, task in enumerate(tasks)}
    minutes = float(np.mean([record["core_seconds"] for record in records])) / 60
    parts = [record["reconstruction_loss"] for record in records if "reconstruction_loss" in record]
    part = float(np.mean(parts)) if parts else None
    if part is not None and np.isclose(part, np.mean(losses, axis=0)[-1, 1], rtol=0.1):
        part = None  # it is the whole loss, but for the steps that each is the mean of
    trivial = records[0].get("trivial_loss")
    return Curve(mean[:, 0], areas, np.mean(losses, axis=0), trivial, part, minutes, len(records))
