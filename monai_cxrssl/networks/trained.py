# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained networks rebuilt from their weights and description."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import described_start, require_description
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet
from monai_cxrssl.networks.fine_tuned.factory import fine_tuned_network
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.starting_normalisation import described_normalisation
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.exact import load_exactly

__all__ = ["build_described", "load_trained_model", "load_trained_network"]

TASKS = ("multi_class", "multi_label")
# What stands in a description, and what each entry must be.
_SETTINGS: dict[str, tuple[type, ...]] = {
    "encoder_name": (str,),
    "image_size": (int,),
    "classes": (list,),
    "task": (str,),
    "decoder": (str, type(None)),
    "mask": (str, type(None)),
    "mask_channels": (int,),
}


def load_trained_network(
    path: str | os.PathLike, return_dict: bool = True
) -> tuple[MultiTaskNet | EnsembleNet, dict[str, Any]]:
    """Build the network of a fine-tuning bundle and fill it; anything missing, left over or misshapen is an error.

    Args:
        path: ``model.pt``, the state dict of a :class:`MultiTaskNet` or an :class:`EnsembleNet`, with the description
            that training writes.
        return_dict: see :class:`MultiTaskNet`.

    Returns:
        The network, on the CPU and in evaluation mode, and what the description says: ``encoder_name``,
        ``image_size`` (pixels), ``classes`` (empty when it only segments), ``task``, ``decoder`` (``None`` when it only
        classifies), ``mask`` (kind of mask or ``None``), ``mask_channels``, ``members`` of an
        ensemble, and whatever else stands there.

    Raises:
        ConfigurationError: there are no weights, they have no description, or the two do not belong together.
    """
    path = Path(path)
    settings = require_description(path)
    return _network(path, settings, return_dict), settings


def load_trained_model(path: str | os.PathLike) -> tuple[Encoder | MultiTaskNet | EnsembleNet, dict[str, Any]]:
    """Build the network of any bundle and fill it: an :class:`Encoder` where the description has no classes.

    Args:
        path: ``model.pt``, see :func:`load_trained_network`.

    Returns:
        The network, on the CPU and in evaluation mode, and what the description says.

    Raises:
        ConfigurationError: see :func:`load_trained_network`.
    """
    settings = require_description(path)
    return build_described(path, settings), settings


def build_described(path: str | os.PathLike, description: dict[str, Any]) -> Encoder | MultiTaskNet | EnsembleNet:
    """Build the network that a description is of, and fill it from a file of weights.

    Args:
        path: the file.
        description: as :func:`load_trained_model` returns it.

    Returns:
        The network, on the CPU and in evaluation mode.

    Raises:
        ConfigurationError: the description is not whole, or the weights are not of such a network.
    """
    path = Path(path)
    # Fine-tuning writes the classes too, even where there are none.
    if "classes" in description or not {"encoder_name", "image_size"} <= description.keys():
        return _network(path, description)  # or says what is wrong
    encoder = Encoder(
        description["encoder_name"],
        encoder_arguments=description.get("encoder_arguments"),
        input_normalisation=described_normalisation(description, path),
        start=described_start(description),
    )
    remedy = f"Its description says the encoder {description['encoder_name']}; take both from one training."
    load_exactly(encoder, read_weights(path), str(path), remedy)
    return encoder.eval()


def _network(path: Path, description: dict[str, Any], return_dict: bool = True) -> MultiTaskNet | EnsembleNet:
    settings = _checked(description, path)
    network = fine_tuned_network(
        settings["encoder_name"],
        settings.get("members", 1),
        settings["task"],
        num_classes=len(settings["classes"]),
        decoder=settings["decoder"],
        mask_channels=settings["mask_channels"],
        return_dict=return_dict,
        encoder_arguments=settings.get("encoder_arguments"),
        input_normalisation=described_normalisation(settings, path),
        start=described_start(settings),
    )
    remedy = (
        f"Its description says {settings['encoder_name']}, decoder {settings['decoder']}, {len(settings['classes'])} "
        "classes; take both from one training."
    )
    load_exactly(network, read_weights(path), str(path), remedy)
    return network.eval()


def _checked(settings: dict[str, Any], weights: Path) -> dict[str, Any]:
    absent = [name for name in _SETTINGS if name not in settings]
    if absent:
        raise ConfigurationError(
            f"The description of {weights} lacks {', '.join(absent)}, which fine-tuning writes. An encoder of a "
            "pretraining bundle has no classes yet: fine-tune from it with --pretrained."
        )
    wrong = [name for name, kinds in _SETTINGS.items() if not isinstance(settings[name], kinds)]
    if not wrong and not all(isinstance(name, str) for name in settings["classes"]):
        wrong = ["classes"]
    if not wrong and settings["task"] not in TASKS:
        wrong = ["task"]
    if wrong:
        told = ", ".join(f"{name} as {settings[name]!r}" for name in wrong)
        raise ConfigurationError(f"The description of {weights} gives {told}, which describes no network; train again.")
    return settings
