# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep the temperature that a report fitted with the model, where inference finds it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_json

__all__ = ["store_temperature"]

logger = logging.getLogger(__name__)


def store_temperature(report_dir: str | os.PathLike, model_path: str | os.PathLike) -> float | None:
    """Write the ``temperature`` of ``report/temperature.json`` into the ``.json`` file beside the weights.

    Args:
        report_dir: folder of the report.
        model_path: the weights that it is a report of.

    Returns:
        The temperature, or ``None`` where the report could fit none; the log says so, and one stored earlier goes,
        since it would be of other weights or other data.

    Raises:
        ConfigurationError: there is no ``.json`` file beside the weights, or the model has other classes.
    """
    path = Path(model_path).with_suffix(".json")
    if not path.is_file():
        raise ConfigurationError(f"There is no {path} to store a temperature in; train the bundle again.")
    settings = json.loads(path.read_text(encoding="utf-8"))
    fitted = Path(report_dir) / "temperature.json"
    if not fitted.is_file():
        logger.warning("The report fitted no temperature (it says why), so none is stored in %s.", path)
        if settings.pop("temperature", None) is not None:
            write_json(settings, path)
        return None
    content = json.loads(fitted.read_text(encoding="utf-8"))
    if list(content["classes"]) != list(settings["classes"]):
        raise ConfigurationError(
            f"The report of {report_dir} is of the classes {', '.join(content['classes'])}, but {path} names "
            f"{', '.join(settings['classes']) or 'none'}; store the temperature of a report of these weights."
        )
    write_json({**settings, "temperature": content["temperature"]}, path)
    logger.info("Temperature %.4g stored in %s; inference applies it.", content["temperature"], path)
    return float(content["temperature"])
