# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Input normalisation of encoders: mean, standard deviation and scale."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["IDENTITY", "InputNormalisation", "Normalisation", "normalised_features"]

#: Channels that a normalisation may be of: grey, or red, green and blue.
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Normalisation:
    """What an encoder expects in place of grey values in [0, 1]: ``(image * scale - mean) / std``.

    Args:
        mean: one value, or one for each of the three channels that the encoder was trained with.
        std: as many, or one for all.
        scale: factor of the image, 1 where mean and standard deviation are of images in [0, 1].
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    def __post_init__(self) -> None:
        # One form for equal ones: as many means as deviations, and one of each where all channels see the same.
        number = max(len(self.mean), len(self.std))
        parts = [tuple(float(v) for v in part) * (number // len(part)) for part in (self.mean, self.std)]
        if all(len(set(part)) == 1 for part in parts):
            parts = [part[:1] for part in parts]
        for name, value in (("mean", parts[0]), ("std", parts[1]), ("scale", float(self.scale))):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        names = [name for name, normalisation in _named().items() if normalisation == self]
        if self == IDENTITY:
            return names[0]
        values = {"mean": self.mean, "std": self.std, "scale": (self.scale,)}
        shown = ", ".join(f"{name} {' '.join(f'{v:g}' for v in part)}" for name, part in values.items())
        return f"{names[0]} ({shown})" if names else shown

    @property
    def channels(self) -> int:
        """Channels of the normalised image: one where all channels of the encoder would see the same values."""
        return len(self.mean)

    def described(self) -> dict[str, Any]:
        """Return the entries of a description of weights: ``input_mean``, ``input_std``, ``input_scale``."""
        return {"input_mean": list(self.mean), "input_std": list(self.std), "input_scale": self.scale}

    def as_option(self) -> dict[str, Any]:
        """Return the value of the option ``input_normalisation`` that means this, see :meth:`of`."""
        return {"mean": list(self.mean), "std": list(self.std), "scale": self.scale}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Normalisation:
        """Read what :meth:`described` wrote; a description of before has none, and its weights want none.

        Raises:
            ConfigurationError: the entries are no numbers, or not as many.
        """
        entries = {name: description[f"input_{name}"] for name in ("mean", "std", "scale")
                   if f"input_{name}" in description}  # fmt: skip
        return cls.of(entries) if entries else IDENTITY

    @classmethod
    def of(cls, value: Any) -> Normalisation:
        """Return what a value of the option ``input_normalisation`` means, ``auto`` aside.

        Args:
            value: a name of :meth:`names`; ``[mean, std]``, each one number or a list of one or three; or a mapping of
                ``mean``, ``std`` and ``scale``. Either may be JSON text; ``None`` is ``"none"``.

        Raises:
            ConfigurationError: it is none of these.
        """
        if value is None or isinstance(value, Normalisation):
            return value or IDENTITY
        content = value
        if isinstance(value, str):
            if (known := _named().get(value.strip().lower())) is not None:
                return known
            try:
                content = json.loads(value)
            except ValueError:
                content = None
        if isinstance(content, Sequence) and not isinstance(content, str) and len(content) == 2:
            content = dict(zip(("mean", "std"), content, strict=True))
        parts = _numbers(content) if isinstance(content, Mapping) else None
        if parts is None:
            raise ConfigurationError(f"The input normalisation is {value!r}; it must be {cls.expected()}.")
        return cls(parts["mean"], parts["std"], parts["scale"][0])

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of known normalisations."""
        return list(_named())

    @classmethod
    def expected(cls) -> str:
        """Say what a value of the option may be, for a message."""
        return (
            f"auto, {', '.join(cls.names())}, [mean, std] or {{'mean': ..., 'std': ..., 'scale': ...}} of numbers, one "
            "or three of each, std and scale above 0"
        )


IDENTITY = Normalisation()


@cache
def _named() -> dict[str, Normalisation]:
    from timm.data import constants

    return {
        "none": IDENTITY,
        "imagenet": Normalisation(constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD),
        "clip": Normalisation(constants.OPENAI_CLIP_MEAN, constants.OPENAI_CLIP_STD),
        # TorchXRayVision's images go from -1024 to 1024.
        "xrv": Normalisation((1024.0,), (1.0,), 2048.0),
        # The constants of EVA-X's own code, for its weights and for those of Medical-MAE.
        "eva-x": Normalisation((0.49185,), (0.28509,)),
        "medical-mae": Normalisation((0.5056,), (0.252,)),
        # As its authors gave it to TorchXRayVision.
        "chess": Normalisation((0.658,), (0.221,)),
    }


def _numbers(content: Mapping[str, Any]) -> dict[str, tuple[float, ...]] | None:
    """Return tuples of the numbers of a mapping, or ``None`` where it describes no normalisation."""
    given = {"mean": IDENTITY.mean, "std": IDENTITY.std, "scale": IDENTITY.scale, **content}
    parts: dict[str, tuple[float, ...]] = {}
    for name, value in given.items():
        values = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            return None
        parts[name] = tuple(values)
    if parts.keys() != {"mean", "std", "scale"} or len(parts["scale"]) != 1:
        return None
    if not all(len(parts[name]) in _CHANNELS for name in ("mean", "std")):
        return None
    return parts if min(*parts["std"], *parts["scale"]) > 0 else None


class InputNormalisation(nn.Module):
    """Normalise grey images in front of an encoder.

    A step of its own, for a convolution pads with zeros after it: folded into the first layer, the borders would
    differ. Where the channels of the encoder were normalised each by its own values, a grey image becomes as many
    channels, for a stem summed over them would see one value in place of three. Nothing of it stands in the state dict.

    Args:
        normalisation: what the encoder expects.
    """

    def __init__(self, normalisation: Normalisation = IDENTITY) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.identity = normalisation == IDENTITY
        self.scale = normalisation.scale
        self.mean, self.std = (
            nn.Buffer(torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
            for values in (normalisation.mean, normalisation.std)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, channels, H, W)`` of images ``(B, 1, H, W)``, floats in [0, 1]; the image itself by default.

        Images of as many channels as the normalisation has, instead of one, are normalised channel by channel.
        """
        if self.identity:
            return image
        return (image * self.scale - self.mean) / self.std

    def extra_repr(self) -> str:
        """Say what is done."""
        return str(self.normalisation)


def normalised_features(network: nn.Module, image: Tensor) -> Any:
    """Return what the encoder of a network gives for images ``(B, 1, H, W)``, float in [0, 1].

    Args:
        network: one of this package, whose normalisation is applied first, or of segmentation-models-pytorch, which
            has none.
        image: what the network itself would be given.
    """
    normalise = getattr(network, "normalise", None)
    return network.encoder(image if normalise is None else normalise(image))  # type: ignore[operator]
