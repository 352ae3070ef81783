# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Temperature and thresholds stored with the model."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.datalists.predictions import load_predictions
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.operating_point import choose_thresholds
from monai_cxrssl.metrics.temperature import apply_temperature
from monai_cxrssl.networks.description import require_description

__all__ = ["store_calibration"]

logger = logging.getLogger(__name__)

_STORED = ("temperature", "thresholds", "threshold_rule")


def store_calibration(
    report_dir: str | os.PathLike, model_path: str | os.PathLike, rule: str = "youden", target: float = 0.9
) -> dict[str, Any]:
    """Write ``temperature`` and ``thresholds`` into the description of the weights, in their file and beside it.

    The temperature is that of ``report/temperature.json``. The thresholds are chosen on the validation images of
    ``report/predictions.csv`` after it was applied, since it moves the probabilities that they are compared with; for
    rule and target see :func:`monai_cxrssl.metrics.choose_threshold`.

    Returns:
        What was stored: ``temperature``, ``thresholds`` by class (of those that have one) and ``threshold_rule``; empty
        where the report could fit none. What was stored earlier goes, since it is of other weights or other data.

    Raises:
        ConfigurationError: there are no weights, they have no description, or the model has other classes.
    """
    settings = require_description(model_path)
    kept = {name: value for name, value in settings.items() if name not in _STORED}
    fitted = Path(report_dir) / "temperature.json"
    if not fitted.is_file():
        logger.warning("The report fitted no temperature (it says why), so none is stored in %s.", model_path)
        store_description(model_path, kept)
        return {}
    content = json.loads(fitted.read_text(encoding="utf-8"))
    if list(content["classes"]) != list(settings.get("classes", [])):
        raise ConfigurationError(
            f"The report of {report_dir} is of the classes {', '.join(content['classes'])}, but {model_path} names "
            f"{', '.join(settings.get('classes', [])) or 'none'}; store the temperature of a report of these weights."
        )
    temperature = float(content["temperature"])
    table = load_predictions(Path(report_dir) / "predictions.csv")
    rows = np.array([item.get("split") == "validation" for item in table.items])
    scores = apply_temperature(table.scores[rows], temperature, table.task)
    points = choose_thresholds(Cohort.of(scores, table.labels[rows]), rule, target)
    found = {
        name: float(point.threshold)
        for name, point in zip(table.classes, points, strict=True)
        if np.isfinite(point.threshold)
    }
    stored = {
        "temperature": temperature,
        "thresholds": found,
        "threshold_rule": rule if rule in ("youden", "f1") else f"{rule} {target:g}",
    }
    store_description(model_path, {**kept, **stored})
    logger.info(
        "Temperature %.4g and %d thresholds stored in %s; inference applies them.", temperature, len(found), model_path
    )
    return stored
