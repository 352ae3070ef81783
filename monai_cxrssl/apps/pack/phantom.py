# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantom data set with the classes of a trained model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.phantom.dataset import make_phantom_dataset

__all__ = ["phantom_of_model"]


def phantom_of_model(
    settings: Mapping[str, Any], folder: str | os.PathLike, patients: int = 12, size: int = 64
) -> Path:
    """Draw a few phantoms on which every config of a bundle runs; their labels go round the classes and mean nothing.

    Args:
        settings: the model's ``model.json``.
        folder: of the data set, see :func:`monai_cxrssl.phantom.make_phantom_dataset`.
        patients: their number.
        size: longer side of an image, pixels.

    Returns:
        The folder.
    """
    path = Path(make_phantom_dataset(folder, patients=patients, size=size, images_per_patient=(1, 2), progress=False))
    classes, task = settings.get("classes"), settings.get("task")
    if classes:
        content = json.loads(path.read_text(encoding="utf-8"))
        for split in (content[name] for name in ("training", "validation", "test")):
            for number, item in enumerate(split):
                right = number % len(classes)
                many = [int(each == right) for each in range(len(classes))]
                item["label"] = right if task == "multi_class" else many
        content |= {"classes": classes, "task": task}
        path.write_text(json.dumps(content), encoding="utf-8")
    return path.parent
