# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a data set as files."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.stores.small_film import refuse_unreadable
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.handlers.inference.predictions import PredictionHandler
from monai_cxrssl.handlers.inference.unreadable_files import unreadable_entries

__all__ = ["EmbeddingWriter"]

logger = logging.getLogger(__name__)


class EmbeddingWriter(PredictionHandler):
    """Collect an evaluator's predictions and write one embedding per image when it completes.

    ``embeddings.npz`` holds ``embedding`` ``(N, D)`` float32 and the texts ``image`` and ``patient_id`` ``(N,)`` of the
    images that could be read, in the order of ``items``. ``embeddings.csv`` holds one row per file that was asked for:
    image, patient_id, study_id, view_position, the columns e0 … , and after these, for each file that could not be
    read, an empty embedding and the cause under ``problem``.

    Args:
        output_dir: folder of the files.
        items: of the datalist, in the order of the evaluator's data. Batches of an
            :class:`~monai_cxrssl.data.InferenceLoader` tell which of their files could not be read.
        unreadable: files that were left out before, each with ``image`` and ``cause``.

    Raises:
        DatalistError: from the run: no image could be read.
    """

    _COLUMNS = ("image", "patient_id", "study_id", "view_position")

    def __init__(
        self,
        output_dir: str | os.PathLike,
        items: Sequence[dict[str, Any]],
        unreadable: Sequence[dict[str, str]] = (),
    ) -> None:
        super().__init__(len(items))
        self.output_dir = Path(output_dir)
        self.items = list(items)
        self.unreadable = list(unreadable)
        self._left_out = list(unreadable)
        self._read: list[dict[str, Any]] = []

    def _start(self, engine: Any) -> None:
        super()._start(engine)
        self.images, self.unreadable = len(self.items), list(self._left_out)
        self._read.clear()

    def _add(self, engine: Any) -> None:
        super()._add(engine)
        batch = engine.state.batch
        if isinstance(batch, Mapping) and "film" in batch:
            entries = unreadable_entries(batch["unreadable"])
            places = [place for place, film in enumerate(batch["film"]) if isinstance(film, SourceFilm)]
            self.unreadable += entries
            self.images -= len(entries)
            self._rows[-1] = self._rows[-1][places]
            self._read.extend(self.items[int(batch["index"][place])] for place in places)

    def finish(self, predictions: np.ndarray) -> None:
        """Write both files."""
        refuse_unreadable(self.unreadable, len(predictions) + len(self.unreadable), 1.0)
        items = self._read or self.items
        self.output_dir.mkdir(parents=True, exist_ok=True)
        np.savez(
            self.output_dir / "embeddings.npz",
            embedding=predictions,
            image=np.array([str(item["image"]) for item in items]),
            patient_id=np.array([str(item["patient_id"]) for item in items]),
        )
        with open(
            self.output_dir / "embeddings.csv", "w", newline="", encoding="utf-8", errors="backslashreplace"
        ) as file:
            writer = csv.writer(file)
            writer.writerow([*self._COLUMNS, "problem", *(f"e{column}" for column in range(predictions.shape[1]))])
            for item, row in zip(items, predictions, strict=True):
                writer.writerow(
                    [*(item.get(name) or "" for name in self._COLUMNS), "", *(f"{value:.7g}" for value in row)]
                )
            for entry in self.unreadable:
                writer.writerow([entry["image"], entry.get("patient_id", ""), "", "", entry["cause"]])
        logger.info(
            "%d embeddings of length %d, %d unreadable files: %s.",
            *predictions.shape,
            len(self.unreadable),
            self.output_dir / "embeddings.csv",
        )
