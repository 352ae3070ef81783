# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Input normalisation of the weights that an encoder starts from."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.encoder_factory import build_encoder, is_vision_transformer, unavailable_weights
from monai_cxrssl.networks.normalisation import IDENTITY, Normalisation
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.known import recognise
from monai_cxrssl.networks.weights.loading import stem_channels

__all__ = ["AUTO", "described_normalisation", "starting_normalisation"]

logger = logging.getLogger(__name__)

#: By the weights that the encoder starts from.
AUTO = "auto"


def starting_normalisation(
    encoder_name: str,
    encoder_weights: str | None = None,
    pretrained: str | os.PathLike | None = None,
    input_normalisation: Any = AUTO,
    encoder_arguments: Mapping[str, Any] | None = None,
) -> Normalisation:
    """Return the normalisation of an encoder that starts from given weights.

    Args:
        encoder_name: of segmentation-models-pytorch (smp) or ``tu-`` and a timm model.
        encoder_weights: name of weights that smp downloads; their settings say how they were normalised.
        pretrained: file of weights; its description says it, or the table of known weights.
        input_normalisation: ``"auto"`` for what the weights say, of random weights ``"standard"`` for vision
            transformers, which nothing else brings to unit variance, and none for others; else see
            :meth:`Normalisation.of`.
        encoder_arguments: of the encoder.

    Raises:
        ConfigurationError: the value means nothing; or nothing says how a file of three channels was normalised, or a
            file of one channel is to be normalised by the values of three; or smp's settings cannot be had.
    """
    encoder = (encoder_name, encoder_arguments)
    automatic = isinstance(input_normalisation, str) and input_normalisation.strip().lower() == AUTO
    if not automatic:
        normalisation = Normalisation.of(input_normalisation)
        if pretrained is not None and normalisation.channels > 1 and _channels(pretrained, *encoder) == 1:
            raise ConfigurationError(
                f"{os.fspath(pretrained)} takes images of one channel, and --input_normalisation {input_normalisation} "
                "has a mean and a deviation for each of three; give [mean, std] with one number each."
            )
        return normalisation
    if encoder_weights is not None:
        return _of_settings(encoder_name, encoder_weights)
    if pretrained is not None:
        return _of_file(pretrained, *encoder)
    return Normalisation.of("standard") if is_vision_transformer(encoder_name) else IDENTITY


def _of_settings(encoder_name: str, encoder_weights: str) -> Normalisation:
    """Read the settings of smp, or timm's of a ``tu-`` encoder."""
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    try:
        settings = get_preprocessing_params(encoder_name, encoder_weights)
    except Exception as error:
        raise unavailable_weights(encoder_name, encoder_weights, error) from error
    # The order of the colours says nothing of a grey image. Some encoders of smp want images in [0, 255].
    return Normalisation(settings["mean"], settings["std"], settings["input_range"][1])


def _of_file(path: str | os.PathLike, name: str, arguments: Mapping[str, Any] | None) -> Normalisation:
    description = find_description(path) or {}
    if "input_mean" in description:
        return described_normalisation(description, path)
    known = recognise(path)
    if known is not None and known.normalisation is not None:
        return known.normalisation
    if known is not None or _channels(path, name, arguments) == 3:
        whose = "was trained on images of three channels" if known is None else f"holds the weights {known.name}"
        raise ConfigurationError(
            f"{os.fspath(path)} {whose}, and nothing says how their images were normalised: "
            f"give --input_normalisation, which is {', '.join(Normalisation.names())}, or [mean, std] as its authors "
            "say."
        )
    if is_vision_transformer(name):
        logger.info("%s does not say how its images were normalised; they are taken as they are, in [0, 1].", path)
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


def _channels(path: str | os.PathLike, encoder_name: str, arguments: Mapping[str, Any] | None) -> int | None:
    """Return how many channels the images have that the file's stem takes, ``None`` where it has no such stem."""
    weights = read_weights(path)
    with torch.random.fork_rng(devices=[]):  # what is trained must not depend on whether a file was looked at
        return stem_channels(weights, build_encoder(encoder_name, encoder_arguments=arguments))
