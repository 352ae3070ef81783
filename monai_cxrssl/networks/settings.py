# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The options that a file of weights needs beside it to be used again: which encoder, which image size."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["read_model_setting", "read_temperature"]


def read_model_setting(model_path: str | os.PathLike, name: str, default: Any) -> Any:
    """Return an option from the ``.json`` file that training left beside a ``.pt`` file.

    Args:
        model_path: the file of weights.
        name: the option, such as ``encoder_name``.
        default: returned when there is no such file, as in a bundle not yet trained.

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

    Args:
        model_path: the file of weights; its ``.json`` file has ``temperature`` once one was stored.

    Raises:
        ConfigurationError: it is no number above 0.
    """
    path = Path(model_path).with_suffix(".json")
    if not path.is_file():
        return 1.0
    try:
        temperature = float(json.loads(path.read_text(encoding="utf-8")).get("temperature", 1.0))
    except (ValueError, TypeError, AttributeError, OSError):
        temperature = float("nan")
    if not temperature > 0:
        raise ConfigurationError(f"{path} has no temperature above 0; evaluate again with --store_temperature True.")
    return temperature
