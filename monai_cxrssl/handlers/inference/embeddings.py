# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a data set as files."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.handlers.inference.predictions import PredictionHandler

__all__ = ["EmbeddingWriter"]

logger = logging.getLogger(__name__)


class EmbeddingWriter(PredictionHandler):
    """Collect an evaluator's predictions and write one embedding per image when it completes.

    ``embeddings.npz`` holds ``embedding`` ``(N, D)`` float32 and the texts ``image`` and ``patient_id`` ``(N,)``, in
    the order of ``items`` and the evaluator's data. ``embeddings.csv`` holds one row per file that was asked for:
    image, patient_id, study_id, view_position, the columns e0 … , and, for a file that could not be read
    (``unreadable``, each with ``image`` and ``cause``), an empty embedding and the cause under ``problem``.
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

    def finish(self, predictions: np.ndarray) -> None:
        """Write both files."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        np.savez(
            self.output_dir / "embeddings.npz",
            embedding=predictions,
            image=np.array([str(item["image"]) for item in self.items]),
            patient_id=np.array([str(item["patient_id"]) for item in self.items]),
        )
        with open(
            self.output_dir / "embeddings.csv", "w", newline="", encoding="utf-8", errors="backslashreplace"
        ) as file:
            writer = csv.writer(file)
            writer.writerow([*self._COLUMNS, "problem", *(f"e{column}" for column in range(predictions.shape[1]))])
            for item, row in zip(self.items, predictions, strict=True):
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
