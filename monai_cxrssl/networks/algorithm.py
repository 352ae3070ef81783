# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Identification of trained weights in DICOM results."""

from __future__ import annotations

import json
import os
from pathlib import Path

from monai_cxrssl import __version__
from monai_cxrssl.data.dicom_results.result import Algorithm
from monai_cxrssl.files import sha256
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.prediction_head import PredictionHead

__all__ = ["describe_algorithm", "mask_structure"]


def describe_algorithm(weights: str | os.PathLike, head: PredictionHead) -> Algorithm:
    """Return name and version of the bundle that weights lie in, else of this package, with their parameters.

    These are the encoder, the weights' SHA-256, the calibration of the head and the task.

    Args:
        weights: file, usually ``models/model.pt`` of a bundle, whose ``configs/metadata.json`` names it.
        head: that gives the probabilities.
    """
    path = Path(weights)
    description = find_description(path) or {}
    about = path.absolute().parents[1] / "configs" / "metadata.json"
    bundle = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
    calibration = (
        f"probabilities calibrated by temperature {head.temperature:.4g}"
        if head.temperature != 1
        else "probabilities not calibrated (temperature 1)"
    )
    parameters = [
        *([f"encoder {description['encoder_name']}"] if "encoder_name" in description else []),
        f"weights SHA-256 {sha256(path)}",
        f"software monai_cxrssl {__version__}",
        *([calibration, f"task {head.task}"] if head.classes else []),
    ]
    return Algorithm(bundle.get("name", "monai_cxrssl"), bundle.get("version", __version__), tuple(parameters))


def mask_structure(weights: str | os.PathLike) -> str:
    """Return what the mask of weights shows: ``"lesion"`` where they are described as of lesions or boxes."""
    return "lung" if ((find_description(weights) or {}).get("mask") or "lung") == "lung" else "lesion"
