# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights, arguments and normalisation that an encoder starts with."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.encoder_factory import build_encoder, check_name
from monai_cxrssl.networks.normalisation import InputNormalisation
from monai_cxrssl.networks.starting_normalisation import AUTO, starting_normalisation
from monai_cxrssl.networks.weights.known import recognise
from monai_cxrssl.networks.weights.loading import load_encoder_weights
from monai_cxrssl.networks.weights.locations import resolve_weights

__all__ = ["Start", "encoder_of_file"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What an encoder starts from; for the fields see :class:`~monai_cxrssl.networks.Encoder`."""

    encoder_weights: str | None = None
    pretrained: str | os.PathLike | None = None
    encoder_arguments: Mapping[str, Any] | None = None
    input_normalisation: Any = AUTO

    def overlaid(self, start: Mapping[str, Any] | None) -> Start:
        """Return this with the values of a mapping where it has none of its own.

        Raises:
            ConfigurationError: the mapping names something else.
        """
        given = {name: value for name, value in vars(self).items() if value is not None and value != AUTO}
        if unknown := sorted((start or {}).keys() - vars(self).keys()):
            raise ConfigurationError(f"start names {', '.join(unknown)}; it takes {', '.join(vars(self))}.")
        return Start(**{**(start or {}), **given})

    def build(self, encoder_name: str, in_channels: int = 1) -> tuple[InputNormalisation, nn.Module, Path | None]:
        """Build the encoder and what normalises its images.

        Returns:
            The normalisation, the smp encoder, filled, and the file that it was filled from. The encoder reads as many
            channels as the normalisation gives.

        Raises:
            ConfigurationError: two sources of weights; an unknown encoder; images of other channels than the
                normalisation has; weights that do not fit or cannot be had; nothing says how they were normalised.
        """
        if self.encoder_weights is not None and self.pretrained is not None:
            raise ConfigurationError("Pass either encoder_weights or pretrained, not both: they fill the same weights.")
        check_name(encoder_name)
        path = None if self.pretrained is None else resolve_weights(self.pretrained)
        arguments = self.encoder_arguments
        if arguments is None and path is not None and path.exists():
            name, said = encoder_of_file(path)
            if said and name == encoder_name:
                arguments = said
                shown = ", ".join(f"{key}={value}" for key, value in said.items())
                logger.info("%s: the encoder is built with %s, as these weights want it.", path, shown)
        normalisation = starting_normalisation(
            encoder_name, self.encoder_weights, path, self.input_normalisation, arguments
        )
        if 1 not in (in_channels, normalisation.channels) and in_channels != normalisation.channels:
            raise ConfigurationError(
                f"Images of {in_channels} channels cannot be normalised by the values of {normalisation.channels} "
                f"({normalisation}); give in_channels 1 or {normalisation.channels}."
            )
        channels = max(in_channels, normalisation.channels)
        encoder = build_encoder(encoder_name, channels, self.encoder_weights, arguments)
        if path is not None:
            load_encoder_weights(encoder, path)
        return InputNormalisation(normalisation), encoder, path


def encoder_of_file(path: str | os.PathLike) -> tuple[str | None, dict[str, Any]]:
    """Return the name and the arguments of the encoder that a file of weights is of, by its description or the table.

    Raises:
        ConfigurationError: the file holds no weights.
    """
    description = find_description(path)
    if description is not None:
        return description.get("encoder_name"), dict(description.get("encoder_arguments") or {})
    known = recognise(path)
    return (None, {}) if known is None else (known.encoder_name, dict(known.encoder_arguments))
