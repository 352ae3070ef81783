# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained networks rebuilt from their weights and model.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.pretrained import load_state_dict_file

__all__ = ["load_trained_model", "load_trained_network"]

TASKS = ("multi_class", "multi_label")
# What stands in model.json, and what each entry must be.
_SETTINGS: dict[str, tuple[type, ...]] = {
    "encoder_name": (str,),
    "image_size": (int,),
    "classes": (list,),
    "task": (str,),
    "decoder": (str, type(None)),
    "mask": (str, type(None)),
    "mask_channels": (int,),
}


def load_trained_network(path: str | os.PathLike, return_dict: bool = True) -> tuple[MultiTaskNet, dict[str, Any]]:
    """Build the network of a fine-tuning bundle and fill it; anything missing, left over or misshapen is an error.

    The path is of ``model.pt``, the state dict of a :class:`MultiTaskNet`; beside it stands ``model.json``, which
    training writes.

    Returns:
        The network, on the CPU and in evaluation mode, and what ``model.json`` says: ``encoder_name``, ``image_size``
        (pixels), ``classes`` (empty when it only segments), ``task``, ``decoder`` (``None`` when it only classifies),
        ``mask`` (kind of mask or ``None``), ``mask_channels`` and whatever else stands there.

    Raises:
        ConfigurationError: either file is absent, is not what it should be, or they do not belong together.
    """
    path = Path(path)
    weights = load_state_dict_file(path)
    settings = _read_settings(path)
    network = MultiTaskNet(
        settings["encoder_name"],
        num_classes=len(settings["classes"]),
        decoder=settings["decoder"],
        mask_channels=settings["mask_channels"],
        return_dict=return_dict,
    )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path} does not fit the network that {path.with_suffix('.json')} describes "
            f"({settings['encoder_name']}, decoder {settings['decoder']}, {len(settings['classes'])} classes): "
            f"{str(error).splitlines()[-1].strip()} Take both files from one training."
        ) from error
    return network.eval(), settings


def load_trained_model(path: str | os.PathLike) -> tuple[Encoder | MultiTaskNet, dict[str, Any]]:
    """Build the network of any bundle and fill it: an :class:`Encoder` where ``model.json`` names no classes.

    Return it on the CPU and in evaluation mode, with what ``model.json`` says.

    Raises:
        ConfigurationError: see :func:`load_trained_network`.
    """
    path = Path(path)
    weights = load_state_dict_file(path)
    try:
        settings = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None
    # Fine-tuning writes the classes too, even where there are none.
    if not isinstance(settings, dict) or "classes" in settings or not {"encoder_name", "image_size"} <= settings.keys():
        return load_trained_network(path)  # or says what is wrong
    encoder = Encoder(settings["encoder_name"])
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path} does not fit the encoder {settings['encoder_name']} that its .json file names; take both files "
            "from one training."
        ) from error
    return encoder.eval(), settings


def _read_settings(weights: Path) -> dict[str, Any]:
    path = weights.with_suffix(".json")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no {path.name} beside {weights}, so its encoder, decoder and classes are not known; keep the "
            "two files together, as training wrote them."
        ) from None
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read as JSON ({error}); train again.") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path} holds no JSON object, so it does not describe a network; train again.")
    absent = [name for name in _SETTINGS if name not in settings]
    if absent:
        raise ConfigurationError(
            f"{path} lacks {', '.join(absent)}; expected the file that fine-tuning writes. An encoder of a pretraining "
            "bundle has no classes yet: fine-tune from it with --pretrained."
        )
    wrong = [name for name, kinds in _SETTINGS.items() if not isinstance(settings[name], kinds)]
    if not wrong and not all(isinstance(name, str) for name in settings["classes"]):
        wrong = ["classes"]
    if not wrong and settings["task"] not in TASKS:
        wrong = ["task"]
    if wrong:
        told = ", ".join(f"{name} as {settings[name]!r}" for name in wrong)
        raise ConfigurationError(f"{path} gives {told}, which describes no network; train again.")
    return settings
