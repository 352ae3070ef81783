# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights, arguments, normalisation, pooling and positions that an encoder starts with."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.encoder_factory import build_encoder, check_name, is_vision_transformer
from monai_cxrssl.networks.normalisation import InputNormalisation
from monai_cxrssl.networks.parts.from_scratch import initialise_transformer
from monai_cxrssl.networks.parts.pooling import Pooling
from monai_cxrssl.networks.parts.positions import POSITIONS, holds_sincos, positions_of, use_sincos
from monai_cxrssl.networks.starting_normalisation import AUTO, starting_normalisation
from monai_cxrssl.networks.weights.known import recognise
from monai_cxrssl.networks.weights.loading import load_encoder_weights
from monai_cxrssl.networks.weights.locations import resolve_weights

__all__ = ["Built", "Start", "encoder_of_file"]

logger = logging.getLogger(__name__)


class Built(NamedTuple):
    """An encoder, what stands before and behind it, and the file that it was filled from."""

    normalise: InputNormalisation
    encoder: nn.Module
    pool: Pooling
    head_norm: str  #: of a label head, see :class:`~monai_cxrssl.networks.MultiTaskNet`.
    path: Path | None


@dataclass(frozen=True)
class Start:
    """What an encoder starts from; for the fields see :class:`~monai_cxrssl.networks.Encoder`.

    ``image_size`` is the side of the images that a run is on: a transformer with positions by sine and cosine and
    random weights is built for it. ``head_norm`` and ``head_layers`` see :class:`~monai_cxrssl.networks.MultiTaskNet`.
    """

    encoder_weights: str | None = None
    pretrained: str | os.PathLike | None = None
    encoder_arguments: Mapping[str, Any] | None = None
    input_normalisation: Any = AUTO
    pooling: str = AUTO
    positions: str = AUTO
    drop_path: float | None = None
    head_norm: str = AUTO
    head_layers: int | Mapping[str, Any] | None = None
    image_size: int | None = None

    def overlaid(self, start: Mapping[str, Any] | None) -> Start:
        """Return this with the values of a mapping where it has none of its own.

        Raises:
            ConfigurationError: the mapping names something else.
        """
        given = {name: value for name, value in vars(self).items() if value is not None and value != AUTO}
        if unknown := sorted((start or {}).keys() - vars(self).keys()):
            raise ConfigurationError(f"start names {', '.join(unknown)}; it takes {', '.join(vars(self))}.")
        return Start(**{**(start or {}), **given})

    def build(self, encoder_name: str, in_channels: int = 1) -> Built:
        """Build the encoder and what stands before and behind it.

        The encoder reads as many channels as the normalisation gives.

        Raises:
            ConfigurationError: two sources of weights; an unknown encoder; images of other channels than the
                normalisation has; weights that do not fit or cannot be had; nothing says how they were normalised; a
                pooling or positions that the encoder cannot have.
        """
        if self.encoder_weights is not None and self.pretrained is not None:
            raise ConfigurationError("Pass either encoder_weights or pretrained, not both: they fill the same weights.")
        if self.positions not in (AUTO, *POSITIONS):
            raise ConfigurationError(f"The positions are {self.positions!r}; expected auto, {' or '.join(POSITIONS)}.")
        check_name(encoder_name)
        path = None if self.pretrained is None else resolve_weights(self.pretrained)
        from_scratch = path is None and self.encoder_weights is None
        said = (find_description(path) or {}) if path is not None and path.exists() else {}
        if said.get("members", 1) > 1:
            raise ConfigurationError(
                f"{path} is an ensemble of {said['members']} networks, and a network starts from one: give the "
                "model.pt of one member."
            )
        positions = said.get("positions", AUTO) if self.positions == AUTO else self.positions
        if from_scratch and positions == AUTO:
            positions = "sincos" if _is_plain(encoder_name) else "learned"
        arguments = self._arguments(encoder_name, path, positions)
        normalisation = starting_normalisation(
            encoder_name, self.encoder_weights, path, self.input_normalisation, arguments
        )
        if 1 not in (in_channels, normalisation.channels) and in_channels != normalisation.channels:
            raise ConfigurationError(
                f"Images of {in_channels} channels cannot be normalised by the values of {normalisation.channels} "
                f"({normalisation}); give in_channels 1 or {normalisation.channels}."
            )
        channels = max(in_channels, normalisation.channels)
        encoder = build_encoder(encoder_name, channels, self.encoder_weights, arguments, self.drop_path)
        if from_scratch:
            initialise_transformer(encoder)
        if path is not None:
            load_encoder_weights(encoder, path)
        self._place(encoder, encoder_name, positions, from_scratch or said.get("positions") == "sincos")
        pool = self._pool(encoder, encoder_name, path, said)
        transformer = is_vision_transformer(encoder_name)
        head_norm = self.head_norm if self.head_norm != AUTO else "layer" if transformer else "none"
        return Built(InputNormalisation(normalisation), encoder, pool, head_norm, path)

    def _arguments(self, encoder_name: str, path: Path | None, positions: str) -> Mapping[str, Any] | None:
        """Return the arguments of the encoder: those given, of its file, or for the size of the images."""
        arguments = self.encoder_arguments
        if path is not None and path.exists():
            name, said = encoder_of_file(path)
            if arguments is None and said and name == encoder_name:
                arguments = said if self.drop_path is None else {k: v for k, v in said.items() if k != "drop_path_rate"}
                shown = ", ".join(f"{key}={value}" for key, value in arguments.items())
                logger.info("%s: the encoder is built with %s, as these weights want it.", path, shown)
            elif positions == "sincos" and "img_size" in said:
                # Other arguments than the file's do not lay its positions over another grid.
                arguments = {"img_size": said["img_size"], **(arguments or {})}
        elif positions == "sincos" and self.encoder_weights is None and self.image_size and _is_plain(encoder_name):
            arguments = {"img_size": self.image_size, **(arguments or {})}
        return arguments

    def _place(self, encoder: nn.Module, encoder_name: str, positions: str, fixed: bool) -> None:
        """Give an encoder its positions; those of a file that says nothing are known by their values."""
        if positions == AUTO:
            positions = "sincos" if holds_sincos(encoder) else "learned"
        elif positions == "sincos" and not fixed and positions_of(encoder) and not holds_sincos(encoder):
            raise ConfigurationError(
                f"The weights that {encoder_name} starts from have learned positions, and positions by sine and cosine "
                "would take their place; leave --positions out."
            )
        if positions == "sincos" and (self.positions != AUTO or positions_of(encoder)):
            use_sincos(encoder, encoder_name)

    def _pool(self, encoder: nn.Module, encoder_name: str, path: Path | None, said: Mapping[str, Any]) -> Pooling:
        """Make the pooling: the one given, that of the file, or the architecture's."""
        if self.pooling != AUTO or path is None or "pooling" in said:
            return Pooling(said.get("pooling", AUTO) if self.pooling == AUTO else self.pooling, encoder, encoder_name)
        pool = Pooling(AUTO, encoder, encoder_name)
        if is_vision_transformer(encoder_name):
            logger.info("%s does not say how its features are pooled; by default it is %s.", path, pool.name)
        return pool


def _is_plain(encoder_name: str) -> bool:
    """Whether an encoder is a vision transformer that timm gives learned positions and nothing else to tell places."""
    from timm.models import is_model_in_modules

    name = encoder_name.removeprefix("tu-").split(".")[0]
    return encoder_name.startswith("tu-") and is_model_in_modules(name, ("vision_transformer", "deit"))


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
