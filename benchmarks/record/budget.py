# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run costs, and what is left of it, by measured rates."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record.cells import Cell
from record.rows import CNN, LITE, VIT, Unit

__all__ = ["Budget"]

#: Images that a network of these is fine-tuned on per second and core, and that it embeds, until they are measured.
_TRAINED = {CNN: 70.0, VIT: 65.0, LITE: 24.0}
_EMBEDDED = {CNN: 375.0, VIT: 360.0, LITE: 300.0}
#: Start of a process that trains, seconds.
_START = 15.0


class Budget:
    """Core-seconds of pretrainings and cells: those measured, or guessed by rates as long as there are none.

    Args:
        work: folder of the run.
        settings: of the run.
        films: of the corpus.
        jobs: units and their cells of the run.
    """

    def __init__(
        self, work: Path, settings: Mapping[str, Any], films: int, jobs: Sequence[tuple[Unit, Sequence[Cell]]]
    ) -> None:
        self.work, self.settings, self.films, self.jobs = work, settings, films, jobs
        self.spent = 0.0
        self.known: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        #: What is there: units pretrained, and cells.
        self.there: set[tuple[Any, ...]] = set()
        for unit in dict.fromkeys(unit for unit, _ in jobs):
            self._take(work / "cells" / unit.folder / "pretraining.json", unit, None)
        for unit, cells in jobs:
            for cell in cells:
                self._take(work / "cells" / unit.folder / cell.file, unit, cell)

    def _take(self, file: Path, unit: Unit, cell: Cell | None) -> None:
        if file.is_file():
            seconds = float(json.loads(file.read_text(encoding="utf-8"))["core_seconds"])
            self.spent += seconds
            self.known[_kind(unit, cell)].append(seconds)
            self.there.add((unit.folder, cell))

    def seconds(self, unit: Unit, cell: Cell | None) -> float:
        """Return the core-seconds of a cell, or of the pretraining."""
        if known := self.known.get(_kind(unit, cell)):
            return sum(known) / len(known)
        encoder, options = unit.row.encoder, self.settings
        if cell is None:
            return _START + self.films * options["epochs_share"] * unit.row.epochs / unit.row.rate
        if cell.protocol in ("probe", "shift", "curve") or not encoder:
            return 6000 / _EMBEDDED.get(encoder, 2000.0) / (1 if cell.amount < 1 else 2)
        steps = options["steps"] if cell.amount <= 1 else options["mask_steps"]
        drawn = 0.6 if cell.amount > 1 or cell.protocol == "with-lungs" else 1.0  # with a decoder
        return _START + 10 + steps * options["batch"] / (_TRAINED[encoder] * drawn)

    def left(self) -> float:
        """Return the core-seconds of what is missing."""
        missing = [(unit, cell) for unit, cells in self.jobs for cell in cells if (unit.folder, cell) not in self.there]
        # A unit without anything to do needs no weights.
        units = {unit.folder: unit for unit, _ in missing if unit.row.bundle and not self._has_weights(unit)}
        return sum(self.seconds(unit, cell) for unit, cell in missing) + sum(
            self.seconds(unit, None) for unit in units.values()
        )

    def _has_weights(self, unit: Unit) -> bool:
        """Tell whether a pretraining's weights are here; another machine has its small files alone."""
        return (self.work / "pretraining" / unit.folder / "done.json").is_file()

    def sentence(self, jobs: int) -> str:
        """Say how much is done, and how long the rest takes."""
        total = sum(len(cells) for _, cells in self.jobs)
        done = sum(cell is not None for _, cell in self.there)
        left = self.left()
        return (
            f"{done} of {total} cells, {self.spent / 3600:.1f} core-hours spent; {left / 3600:.1f} left, "
            f"about {left / 3600 / jobs:.1f} hours with {jobs} process{'es' * (jobs > 1)}."
        )


def _kind(unit: Unit, cell: Cell | None) -> tuple[Any, ...]:
    """Return what costs the same."""
    return (unit.row.name, None) if cell is None else (unit.row.encoder, *cell)
