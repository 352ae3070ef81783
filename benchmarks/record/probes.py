# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Linear probes: of encoders, of their snapshots, of pixels, and across sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_labels import forward, linear_scores

from monai_cxrssl.metrics import macro_auc
from monai_cxrssl.networks import Encoder
from record.cells import DRAWS, Cell
from record.films import Films
from record.rows import Unit
from record.tasks import LabelTask, Tasks

__all__ = ["Probes", "has_pneumonia"]

#: Side of the images that the pixel row takes for features.
_PIXELS = 24


def has_pneumonia(labels: np.ndarray) -> np.ndarray:
    """Return 0 and 1 of class numbers of which the first is a normal image's."""
    return (labels > 0).astype(np.int64)


class Probes:
    """Logistic regressions on the frozen features of a unit.

    Args:
        unit: whose encoder to probe, or the pixels.
        weights: of the encoder; ``None`` for a random one of the unit's seed.
        tasks: to probe on.
        films: of the tasks.
    """

    def __init__(self, unit: Unit, weights: Path | None, tasks: Tasks, films: Films) -> None:
        self.tasks, self.films = tasks, films
        self.network: Encoder | None = None
        if unit.row.encoder:
            torch.manual_seed(1000 + unit.seed)
            self.network = Encoder(unit.row.encoder, pretrained=weights).to(memory_format=torch.channels_last)
        self._known: dict[str, np.ndarray] = {}

    def scores(self, cell: Cell) -> np.ndarray:
        """Return probabilities ``(D, N, C)`` of the test images, one for each draw; all labels are one draw."""
        task = {**self.tasks.labelled, **self.tasks.further}[cell.task]
        draws = range(DRAWS if cell.amount < 1 else 1)
        return np.stack([self._fitted(task, cell.amount, draw, "test") for draw in draws])

    def shifted(self, cell: Cell) -> np.ndarray:
        """Return probabilities ``(1, N, 2)`` of pneumonia of a task's test images by a probe of the other's images."""
        learnt = next(task for key, task in self.tasks.labelled.items() if key != cell.task)
        items, test = learnt.data.items("training"), self.tasks.labelled[cell.task].data.items("test")
        return linear_scores(self.features(items), has_pneumonia(_labels(items)), self.features(test), 2)[None]

    def curve(self, folder: Path) -> list[list[float]]:
        """Return steps, and AUCs on validation at 10 % of the labels of each task, of snapshots and the final encoder.

        The last row has -1 for the number of its step.
        """
        if self.network is None:
            raise ValueError("Pixels have no snapshots.")
        final = {name: value.clone() for name, value in self.network.state_dict().items()}
        rows = []
        for path in [*sorted(folder.glob("*.pt")), None]:
            state: Mapping[str, Any] = final if path is None else torch.load(path, weights_only=True)
            self.network.load_state_dict(state)
            self._known.clear()
            rows.append(
                [-1 if path is None else int(path.stem), *map(self._validation_auc, self.tasks.labelled.values())]
            )
        self._known.clear()
        return rows

    def features(self, items: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return features ``(N, F)`` of images, computed once."""
        new = [item for item in items if item["image"] not in self._known]
        for start in range(0, len(new), 256):
            part = new[start : start + 256]
            if self.network is None:
                rows = self.films.resized(part, _PIXELS).flatten(1).numpy()
            else:
                rows = forward(self.network, self.films.resized(part))
            self._known |= {item["image"]: row for item, row in zip(part, rows, strict=True)}
        return np.stack([self._known[item["image"]] for item in items])

    def _fitted(self, task: LabelTask, amount: float, draw: int, split: str) -> np.ndarray:
        items = task.kept(amount, draw).items("training")
        scored = self.features(task.data.items(split))
        return linear_scores(self.features(items), _labels(items), scored, len(task.data.classes))

    def _validation_auc(self, task: LabelTask) -> float:
        labels = _labels(task.data.items("validation"))
        areas = [macro_auc(self._fitted(task, 0.1, draw, "validation"), labels)[0] for draw in range(DRAWS)]
        return round(float(np.mean(areas)), 4)


def _labels(items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([item["label"] for item in items], dtype=np.int64)
