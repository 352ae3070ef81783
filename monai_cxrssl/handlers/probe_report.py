# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A probe of an evaluator's embeddings, printed and saved."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.files import write_json
from monai_cxrssl.handlers.inference.predictions import PredictionHandler
from monai_cxrssl.probing.linear_probe import one_hot_labels, probe

__all__ = ["ProbeReport"]

logger = logging.getLogger(__name__)


class ProbeReport(PredictionHandler):
    """When an evaluator completes, score its embeddings with the cross-validated probes and save a table as JSON.

    It holds ``linear`` and ``knn``, each with ``macro_auc`` and ``auc_<class>``, and ``images``, ``patients``. The
    ``items`` have ``label`` and ``patient_id``, in the order of the evaluator's data; the ``seed`` is of the folds.
    """

    def __init__(
        self, path: str | os.PathLike, items: Sequence[dict[str, Any]], classes: Sequence[str], seed: int = 0
    ) -> None:
        super().__init__(len(items))
        self.path = Path(path)
        self.items = list(items)
        self.classes = list(classes)
        self.seed = seed

    def finish(self, predictions: np.ndarray) -> None:
        """Score, print and save."""
        labels = one_hot_labels([item.get("label") for item in self.items], len(self.classes))
        patients = [str(item["patient_id"]) for item in self.items]
        result: dict[str, Any] = {
            kind: probe(predictions, labels, patients, self.classes, kind, seed=self.seed) for kind in ("linear", "knn")
        }
        names = list(result["linear"])
        width = max(map(len, names))
        table = [f"  {'':<{width}}  linear     knn"]
        table += [f"  {name:<{width}}  {result['linear'][name]:.4f}  {result['knn'][name]:.4f}" for name in names]
        write_json({**result, "images": len(patients), "patients": len(set(patients))}, self.path)
        logger.info(
            "Area under the ROC curve of probes on frozen embeddings:\n%s\nSaved: %s", "\n".join(table), self.path
        )
