# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings file (``model.json``) beside trained weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["read_model_setting", "read_temperature", "read_thresholds"]


def read_model_setting(model_path: str | os.PathLike, name: str, default: Any) -> Any:
    """Return an option, such as ``encoder_name``, from the ``.json`` file that training left beside a ``.pt`` file.

    Without such a file, as in a bundle not yet trained, it is the default.

    Raises:
        ConfigurationError: when the file is there but lacks the option or is no JSON.
    """
    path = Path(model_path).with_suffix(".json")
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))[name]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"{path} does not say the {name} of the weights beside it; give --{name} or train the bundle again."
        ) from error


def read_temperature(model_path: str | os.PathLike) -> float:
    """Return the temperature stored beside a file of weights, 1 where none is.

    Raises:
        ConfigurationError: it is no number above 0.
    """
    stored = _stored(model_path).get("temperature", 1.0)
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not stored > 0:
        raise ConfigurationError(
            f"{Path(model_path).with_suffix('.json')} has the temperature {stored!r}; expected a number above 0. "
            "Evaluate again with --store_calibration True."
        )
    return float(stored)


def read_thresholds(model_path: str | os.PathLike) -> dict[str, float] | None:
    """Return the thresholds by class stored beside a file of weights, ``None`` where there are none.

    Raises:
        ConfigurationError: they are no probabilities by class.
    """
    stored = _stored(model_path).get("thresholds")
    if not stored:
        return None
    if not isinstance(stored, dict) or not all(
        isinstance(value, int | float) and 0 <= value <= 1 for value in stored.values()
    ):
        raise ConfigurationError(
            f"{Path(model_path).with_suffix('.json')} has the thresholds {stored!r}; expected a probability per class. "
            "Evaluate again with --store_calibration True."
        )
    return {str(name): float(value) for name, value in stored.items()}


def read_training_range(model_path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the statistics of the training films stored beside a file of weights, ``None`` where there are none.

    They stand there where fine-tuning had enough films to measure :class:`monai_cxrssl.data.TrainingRange`.

    Raises:
        ConfigurationError: they are no JSON object.
    """
    stored = _stored(model_path).get("training_range")
    if stored is not None and not isinstance(stored, dict):
        raise ConfigurationError(
            f"{Path(model_path).with_suffix('.json')} has the training_range {stored!r}; expected an object. Train the "
            "bundle again."
        )
    return stored


def _stored(model_path: str | os.PathLike) -> dict[str, Any]:
    path = Path(model_path).with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); train the bundle again.") from error
    return content if isinstance(content, dict) else {}
