# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells: what is trained and scored once for a unit, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from record.rows import CNN, PIXELS, Unit

__all__ = ["DRAWS", "FRACTIONS", "WITH_LUNGS", "Cell", "cells_of", "further_cells", "rank"]

#: Shares of the labelled patients.
FRACTIONS = (0.1, 1.0)
#: Draws of labels that a probe on a share has.
DRAWS = 3
#: Rows of which classification with lungs is compared to classification alone.
WITH_LUNGS = (f"random {CNN}", "MoCo v2")
#: Rows that have all cells, and what is compared in each of three seeds; others have the most important ones once.
CORE = (f"random {CNN}", "random ViT-Ti", "ImageNet EfficientNet-Lite0", "SimCLR", "MICLe", "SPCXR (SiT)",
        "rotation → jigsaw → MoCo v2")  # fmt: skip


class Cell(NamedTuple):
    """What is trained and scored once.

    Attributes:
        task: key of a task; of a shift, whose images are scored.
        protocol: ``"curve"``, ``"probe"``, ``"shift"`` (a probe of the other source), ``"fine-tuned"`` or
            ``"with-lungs"`` (fine-tuned on labels and lungs).
        amount: share of the labels, or number of masks.
    """

    task: str
    protocol: str
    amount: float

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.task}_{self.protocol}_{self.amount:g}.json"


def further_cells(tasks: Sequence[str]) -> list[Cell]:
    """Return the cells of tasks that are only probed."""
    return [Cell(task, "probe", amount) for task in tasks for amount in FRACTIONS]


def cells_of(unit: Unit, further: Sequence[str] = ()) -> list[tuple[int, Cell]]:
    """Return the cells of a unit, each with its level: 0 is computed first.

    The seed of a unit is the draw of labels or masks that it is fine-tuned on, alike for all rows.
    """
    row, first, claimed, core = unit.row, unit.seed == 0, unit.seed < 3, unit.row.name in CORE
    cells = [(0, cell) for cell in further_cells(("kermany", "chestxray14", *further))]
    cells += [(0, Cell(task, "shift", 1.0)) for task in ("kermany", "chestxray14")]
    if row.name == PIXELS:
        return cells
    if row.bundle:
        cells.insert(0, (0, Cell("kermany", "curve", 0.1)))
    cells.append((0, Cell("kermany", "fine-tuned", 0.1)))
    if first or (claimed and core):
        cells += [(1, Cell("chestxray14", "fine-tuned", 0.1)), (2, Cell("lungs", "fine-tuned", 10))]
    if first:
        cells += [(1, Cell("kermany", "fine-tuned", 1.0)), (1, Cell("chestxray14", "fine-tuned", 1.0))]
    if first and core:
        cells += [(3, Cell("lungs", "fine-tuned", count)) for count in (5, 50)]
        cells += [(3, Cell("lungs-adults", "fine-tuned", 10)), (3, Cell("infection", "fine-tuned", 50))]
    if claimed and row.name in WITH_LUNGS:
        cells.append((2, Cell("kermany", "with-lungs", 0.1)))
    return cells


def rank(unit: Unit, level: int) -> int:
    """Return the turn of a unit's cells of a level."""
    return unit.tier + level
