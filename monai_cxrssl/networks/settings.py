# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Single settings from the description of trained weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import described_start, find_description, undescribed
from monai_cxrssl.networks.starting_normalisation import described_normalisation
from monai_cxrssl.networks.weights.header import read_header

__all__ = [
    "read_collapse",
    "read_encoder_arguments",
    "read_input_normalisation",
    "read_members",
    "read_model_setting",
    "read_start",
    "read_temperature",
    "read_thresholds",
    "read_training_range",
]

#: Modules of a network that segments, and the settings that are None of one that does not.
_SEGMENTING = ("decoder.", "segmentation_head.")
_OF_SEGMENTING = ("decoder", "mask")


def read_model_setting(model_path: str | os.PathLike, name: str, default: Any) -> Any:
    """Return an option of trained weights from their description.

    Args:
        model_path: the file of weights.
        name: the option, such as ``encoder_name``.
        default: returned while there are no weights, as in a bundle not yet trained, and never for weights that say
            nothing of themselves. Of such it is only known that they do not segment, where they have no decoder.

    Raises:
        ConfigurationError: the weights have no description, or it lacks the option; or see
            :func:`monai_cxrssl.networks.find_description`.
    """
    path = Path(model_path)
    description = find_description(path)
    if description is None:
        if not path.exists():
            return default
        if name in _OF_SEGMENTING and not any(key.startswith(_SEGMENTING) for key in read_header(path)[0]):
            return None
        raise undescribed(path, name)
    if name not in description:
        raise ConfigurationError(
            f"The description of {path} does not say the {name} of the weights; give --{name} or train the bundle "
            "again."
        )
    return description[name]


def read_input_normalisation(
    model_path: str | os.PathLike, default: Mapping[str, Any] | str | None = None
) -> Mapping[str, Any] | str | None:
    """Return the normalisation stored with a file of weights, as a network's ``input_normalisation`` takes it.

    Args:
        model_path: the file of weights.
        default: returned while there are no weights, or of weights that say nothing of themselves.

    Raises:
        ConfigurationError: the description gives none that can be used; or see
            :func:`monai_cxrssl.networks.find_description`.
    """
    description = find_description(model_path)
    if description is None:
        return default
    return described_normalisation(description, model_path).as_option()


def read_encoder_arguments(model_path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the arguments of the encoder stored with a file of weights, ``None`` where none are.

    Args:
        model_path: the file of weights.

    Raises:
        ConfigurationError: see :func:`monai_cxrssl.networks.find_description`.
    """
    return (find_description(model_path) or {}).get("encoder_arguments")


def read_members(model_path: str | os.PathLike, default: int = 1) -> int:
    """Return how many networks a file of weights is of: 1, or more of an ensemble.

    Args:
        model_path: the file of weights.
        default: returned while there are no weights, or of weights that say nothing of themselves.

    Raises:
        ConfigurationError: see :func:`monai_cxrssl.networks.find_description`.
    """
    description = find_description(model_path)
    return default if description is None else description.get("members", 1)


def read_start(model_path: str | os.PathLike, default: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
    """Return pooling, positions and what a label head has of weights that are described, as a network's ``start``.

    Args:
        model_path: the file of weights.
        default: returned while there are no weights, or of weights that say nothing of themselves; ``None`` stands for
            the architecture's.

    Raises:
        ConfigurationError: see :func:`monai_cxrssl.networks.find_description`.
    """
    description = find_description(model_path)
    return default if description is None else described_start(description)


def read_collapse(model_path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the label map stored with a file of weights, ``None`` where their labels were taken as they came.

    Args:
        model_path: the file of weights.

    Raises:
        ConfigurationError: see :func:`monai_cxrssl.networks.find_description`.
    """
    return (find_description(model_path) or {}).get("collapse")


def read_temperature(model_path: str | os.PathLike) -> float:
    """Return the temperature stored with a file of weights, 1 where none is.

    Args:
        model_path: the file of weights; its description has ``temperature`` once one was stored.

    Raises:
        ConfigurationError: it is no number above 0.
    """
    stored = _stored(model_path).get("temperature", 1.0)
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not stored > 0:
        raise ConfigurationError(
            f"The description of {model_path} has the temperature {stored!r}; expected a number above 0. "
            "Evaluate again with --store_calibration True."
        )
    return float(stored)


def read_thresholds(model_path: str | os.PathLike) -> dict[str, float] | None:
    """Return the thresholds by class stored with a file of weights, ``None`` where there are none.

    Args:
        model_path: the file of weights; its description has ``thresholds`` once some were stored.

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
            f"The description of {model_path} has the thresholds {stored!r}; expected a probability per class. "
            "Evaluate again with --store_calibration True."
        )
    return {str(name): float(value) for name, value in stored.items()}


def read_training_range(model_path: str | os.PathLike) -> dict[str, Any] | None:
    """Return the statistics of the training images stored with a file of weights, ``None`` where there are none.

    Args:
        model_path: the file of weights; its description has ``training_range`` (see
            :class:`monai_cxrssl.data.TrainingRange`) where fine-tuning had enough images to measure it.

    Raises:
        ConfigurationError: they are no JSON object.
    """
    stored = _stored(model_path).get("training_range")
    if stored is not None and not isinstance(stored, dict):
        raise ConfigurationError(
            f"The description of {model_path} has the training_range {stored!r}; expected an object. Train the "
            "bundle again."
        )
    return stored


def _stored(model_path: str | os.PathLike) -> dict[str, Any]:
    return find_description(model_path) or {}
