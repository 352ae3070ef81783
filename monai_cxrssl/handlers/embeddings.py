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
import torch
from ignite.engine import Engine, Events

__all__ = ["EmbeddingWriter"]

logger = logging.getLogger(__name__)


class EmbeddingWriter:
    """Collect an evaluator's predictions and write one embedding per image when it completes.

    ``embeddings.npz`` holds ``embedding`` ``(N, D)`` float32 and the texts ``image`` and ``patient_id`` ``(N,)``.
    ``embeddings.csv`` holds one row per file that was asked for: image, patient_id, study_id, view_position, the
    columns e0 … , and, for a file that could not be read, an empty embedding and the cause under ``problem``.

    Args:
        output_dir: folder of the two files.
        items: the datalist items, in the order of the evaluator's data.
        unreadable: files left out, each with ``image`` and ``cause``.
    """

    _COLUMNS = ("image", "patient_id", "study_id", "view_position")

    def __init__(
        self,
        output_dir: str | os.PathLike,
        items: Sequence[dict[str, Any]],
        unreadable: Sequence[dict[str, str]] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.items = list(items)
        self.unreadable = list(unreadable)
        self._rows: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output holds ``pred`` ``(B, D)``."""
        engine.add_event_handler(Events.STARTED, lambda engine: self._rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _add(self, engine: Any) -> None:
        self._rows.append(engine.state.output["pred"].detach().float().cpu())

    def _write(self, engine: Any) -> None:
        embeddings = torch.cat(self._rows).numpy()
        if len(embeddings) != len(self.items):
            raise RuntimeError(f"{len(embeddings)} embeddings for {len(self.items)} images.")
        self.output_dir.mkdir(parents=True, exist_ok=True)
        np.savez(
            self.output_dir / "embeddings.npz",
            embedding=embeddings,
            image=np.array([str(item["image"]) for item in self.items]),
            patient_id=np.array([str(item["patient_id"]) for item in self.items]),
        )
        with open(
            self.output_dir / "embeddings.csv", "w", newline="", encoding="utf-8", errors="backslashreplace"
        ) as file:
            writer = csv.writer(file)
            writer.writerow([*self._COLUMNS, "problem", *(f"e{column}" for column in range(embeddings.shape[1]))])
            for item, row in zip(self.items, embeddings, strict=True):
                writer.writerow(
                    [*(item.get(name) or "" for name in self._COLUMNS), "", *(f"{value:.7g}" for value in row)]
                )
            for entry in self.unreadable:
                writer.writerow([entry["image"], entry.get("patient_id", ""), "", "", entry["cause"]])
        logger.info(
            "%d embeddings of length %d, %d unreadable files: %s.",
            *embeddings.shape,
            len(self.unreadable),
            self.output_dir / "embeddings.csv",
        )
