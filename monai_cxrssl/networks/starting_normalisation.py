# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Input normalisation of the weights that an encoder starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.normalisation import IDENTITY, Normalisation
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.known import recognise

__all__ = ["AUTO", "described_normalisation", "starting_normalisation", "stem_channels", "unavailable_weights"]

#: By the weights that the encoder starts from.
AUTO = "auto"


def starting_normalisation(
    encoder_name: str,
    encoder_weights: str | None = None,
    pretrained: str | os.PathLike | None = None,
    input_normalisation: Any = AUTO,
) -> Normalisation:
    """Return the normalisation of an encoder that starts from given weights.

    Args:
        encoder_name: of segmentation-models-pytorch (smp) or ``tu-`` and a timm model.
        encoder_weights: name of weights that smp downloads; their settings say how they were normalised.
        pretrained: file of weights; its description says it, or the table of known weights.
        input_normalisation: ``"auto"`` for what the weights say, and none of random weights; else see
            :meth:`Normalisation.of`.

    Raises:
        ConfigurationError: the value means nothing; or nothing says how a file of three channels was normalised, or a
            file of one channel is to be normalised by the values of three; or smp's settings cannot be had.
    """
    automatic = isinstance(input_normalisation, str) and input_normalisation.strip().lower() == AUTO
    if not automatic:
        normalisation = Normalisation.of(input_normalisation)
        if pretrained is not None and normalisation.channels > 1 and stem_channels(pretrained) == 1:
            raise ConfigurationError(
                f"{os.fspath(pretrained)} takes images of one channel, and --input_normalisation {input_normalisation} "
                "has a mean and a deviation for each of three; give [mean, std] with one number each."
            )
        return normalisation
    if encoder_weights is not None:
        return _of_settings(encoder_name, encoder_weights)
    return IDENTITY if pretrained is None else _of_file(pretrained)


def _of_settings(encoder_name: str, encoder_weights: str) -> Normalisation:
    """Read the settings of smp, or timm's of a ``tu-`` encoder."""
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    try:
        settings = get_preprocessing_params(encoder_name, encoder_weights)
    except Exception as error:
        raise unavailable_weights(encoder_name, encoder_weights, error) from error
    # The order of the colours says nothing of a grey image. Some encoders of smp want images in [0, 255].
    return Normalisation(settings["mean"], settings["std"], settings["input_range"][1])


def _of_file(path: str | os.PathLike) -> Normalisation:
    description = find_description(path) or {}
    if "input_mean" in description:
        return described_normalisation(description, path)
    known = recognise(path)
    if known is not None:
        return known.normalisation
    if stem_channels(path) == 3:
        raise ConfigurationError(
            f"{os.fspath(path)} was trained on images of three channels, and nothing says how they were normalised: "
            f"give --input_normalisation, which is {', '.join(Normalisation.names())}, or [mean, std] as its authors "
            "say."
        )
    return IDENTITY


def described_normalisation(description: Mapping[str, Any], weights: str | os.PathLike) -> Normalisation:
    """Read the normalisation in a description of weights, see :meth:`Normalisation.from_description`.

    Raises:
        ConfigurationError: it is none; the sentence names the file of weights.
    """
    try:
        return Normalisation.from_description(description)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The description of {os.fspath(weights)} gives no input normalisation that can be used: {error} Write it "
            "anew with `python -m monai_cxrssl describe`."
        ) from error


def stem_channels(path: str | os.PathLike) -> int:
    """Return how many channels the images have that a file of weights was trained on, 1 or 3.

    Raises:
        ConfigurationError: the file holds no weights.
    """
    # No other convolution than a stem reads three channels; depthwise ones read one of each.
    shapes = [value.shape for value in read_weights(path).values()]
    return 3 if any(len(shape) == 4 and shape[1] == 3 for shape in shapes) else 1


def unavailable_weights(encoder_name: str, encoder_weights: str, error: Exception) -> ConfigurationError:
    """Return the error of weights that smp knows by name but that cannot be had."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ConfigurationError(
        f"The {encoder_weights!r} weights of {encoder_name!r} could not be loaded ({reason}). If this machine has "
        "no way to the model hub, bring the weights as a file and pass --pretrained PATH, or start from random "
        "weights with --encoder_weights None."
    )
