# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictions out of fold, and the temperature that calibrates a member."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.predictions import Predictions, load_predictions, save_predictions
from monai_cxrssl.label_efficiency.trained import predict_images
from monai_cxrssl.metrics.temperature import apply_temperature, fit_temperature
from monai_cxrssl.networks.trained import load_trained_network
from monai_cxrssl.runs.fine_tuning import FineTuningWiring, Labels
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["calibrated", "member_temperature", "out_of_fold"]

logger = logging.getLogger(__name__)

_TABLE = "out_of_fold.csv"


def out_of_fold(wiring: FineTuningWiring, labels: Labels, fold: Datalist, folder: Path) -> Predictions:
    """Return a member's predictions on the validation images of its fold, which stay in a file of its folder.

    Args:
        wiring: of the runs.
        labels: classes and task.
        fold: the member's datalist.
        folder: of its finished run, with ``model.pt``.
    """
    path = folder / _TABLE
    if not path.is_file():
        network, _ = load_trained_network(folder / "model.pt")
        images = wiring.open_images(fold.items("validation"), max_unreadable=1.0)
        dataset = wiring.fixed_dataset(images, labels, ResizeCXR(wiring.options.image_size))
        network = network.to(wiring.options.device)
        save_predictions(predict_images(wiring, network, images, dataset, labels, "validation", fold.name), path)
    return load_predictions(path)


def member_temperature(predictions: Predictions, member: str) -> float:
    """Return the temperature of the least negative log-likelihood out of fold; 1, with a warning, where none fits."""
    if not predictions.classes:
        return 1.0
    found = fit_temperature(predictions.scores, predictions.labels, predictions.task)
    if math.isfinite(found):
        return found
    logger.warning("%s is averaged as it is, at temperature 1.", member)
    return 1.0


def calibrated(predictions: Sequence[Predictions], temperatures: Sequence[float]) -> list[Predictions]:
    """Return predictions at the temperature of each."""
    return [
        replace(each, scores=apply_temperature(each.scores, temperature, each.task)) if each.classes else each
        for each, temperature in zip(predictions, temperatures, strict=True)
    ]
