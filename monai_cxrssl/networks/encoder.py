# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder factory on smp and timm, with pooling."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.normalisation import InputNormalisation
from monai_cxrssl.networks.starting_normalisation import AUTO, starting_normalisation, unavailable_weights
from monai_cxrssl.networks.weights.loading import load_encoder_weights, stem_channels
from monai_cxrssl.networks.weights.target import AFTER_THE_BLOCKS

__all__ = ["Encoder", "build_encoder", "build_normalisation", "channels_of_file", "refuse_size"]

logger = logging.getLogger(__name__)

#: timm modules whose models keep one token grid through all blocks; smp reads these with its DPT encoder.
_TOKEN_MODULES = ("vision_transformer", "deit", "beit", "eva", "vision_transformer_relpos", "vision_transformer_hybrid")
#: Arguments of timm that this package sets itself.
_OWN_ARGUMENTS = frozenset(
    {"in_chans", "in_channels", "pretrained", "features_only", "out_indices", "output_indices", "output_stride", "name"}
    | {"depth", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "weights"}
)


def _is_vision_transformer(encoder_name: str) -> bool:
    from timm.models import is_model_in_modules

    architecture = encoder_name.removeprefix("tu-").split(".")[0]
    return encoder_name.startswith("tu-") and is_model_in_modules(architecture, _TOKEN_MODULES)


def _check_name(encoder_name: str) -> None:
    from segmentation_models_pytorch.encoders import get_encoder_names
    from timm import is_model, list_models

    known = set(get_encoder_names())
    if encoder_name in known or (encoder_name.startswith("tu-") and is_model(encoder_name[3:])):
        return
    candidates = sorted(known | {f"tu-{name}" for name in list_models()})
    near = difflib.get_close_matches(str(encoder_name), candidates, n=4, cutoff=0.5)
    raise ConfigurationError(
        f"There is no encoder named {encoder_name!r}"
        + (f"; the nearest names are {', '.join(near)}. " if near else ". ")
        + "Names are those of segmentation-models-pytorch (resnet18, resnet50, densenet121 …), and 'tu-' followed by "
        "a timm model (tu-convnext_tiny, tu-vit_small_patch16_224 …)."
    )


def _check_arguments(encoder_name: str, arguments: Any) -> dict[str, Any]:
    """Return the arguments of a timm encoder, such as ``patch_size``, without those of value ``None``."""
    if not isinstance(arguments, Mapping | None):
        raise ConfigurationError(
            f"encoder_arguments is {arguments!r}; expected names and values, such as {{'patch_size': 16}}."
        )
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    if given and not encoder_name.startswith("tu-"):
        raise ConfigurationError(
            f"The encoder {encoder_name!r} takes no encoder_arguments ({', '.join(given)}); only those of timm do, "
            "whose names begin with tu-."
        )
    own = sorted(_OWN_ARGUMENTS & given.keys())
    if own:
        raise ConfigurationError(f"encoder_arguments gives {', '.join(own)}, which is set elsewhere; leave it out.")
    return given


def build_encoder(
    encoder_name: str,
    in_channels: int = 1,
    encoder_weights: str | None = None,
    encoder_arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the encoder that an smp model of this name would build, with the same parameter names.

    The weights are random for ``None``, else of a name that smp knows (``imagenet``; downloads). Weights trained on
    three channels are summed over them. For names and arguments see :class:`Encoder`.

    Raises:
        ConfigurationError: when the name is unknown, an argument is wrong, or the weights cannot be had.
    """
    from segmentation_models_pytorch.encoders import get_encoder
    from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

    _check_name(encoder_name)
    arguments = _check_arguments(encoder_name, encoder_arguments)
    try:
        if _is_vision_transformer(encoder_name):
            encoder = TimmViTEncoder(
                name=encoder_name[3:],
                in_channels=in_channels,
                depth=4,
                pretrained=encoder_weights is not None,
                **{"dynamic_img_size": True, **arguments},
            )
            for name in AFTER_THE_BLOCKS:
                unused = getattr(encoder.model, name, None)
                if isinstance(unused, nn.Module):
                    # Data-parallel training stops at weights that want a gradient and get none.
                    unused.requires_grad_(False)
        else:
            encoder = get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=encoder_weights, **arguments)
        encoder.encoder_arguments = arguments
        return encoder
    except Exception as error:
        if arguments and encoder_weights is None:
            raise ConfigurationError(
                f"The encoder {encoder_name!r} cannot be built with encoder_arguments {arguments}: "
                f"{_first_line(error)}. They are the arguments of timm's network, such as patch_size, img_size and "
                "drop_path_rate."
            ) from error
        if encoder_weights is None:
            raise ConfigurationError(
                f"The encoder {encoder_name!r} exists but cannot be built for {in_channels}-channel images with five "
                f"stages: {error}. Choose another encoder."
            ) from error
        raise unavailable_weights(encoder_name, encoder_weights, error) from error


def build_normalisation(
    encoder_name: str,
    in_channels: int = 1,
    encoder_weights: str | None = None,
    pretrained: str | os.PathLike | None = None,
    input_normalisation: Any = AUTO,
) -> tuple[InputNormalisation, int]:
    """Build what normalises the images of an encoder; return it and the channels that the encoder then reads.

    For the arguments see :class:`Encoder`.

    Raises:
        ConfigurationError: two sources of weights, an unknown encoder, images of other channels than the normalisation
            has; or see :func:`~monai_cxrssl.networks.starting_normalisation.starting_normalisation`.
    """
    if encoder_weights is not None and pretrained is not None:
        raise ConfigurationError("Pass either encoder_weights or pretrained, not both: they fill the same weights.")
    _check_name(encoder_name)
    normalisation = starting_normalisation(encoder_name, encoder_weights, pretrained, input_normalisation)
    if 1 not in (in_channels, normalisation.channels) and in_channels != normalisation.channels:
        raise ConfigurationError(
            f"Images of {in_channels} channels cannot be normalised by the values of {normalisation.channels} "
            f"({normalisation}); give in_channels 1 or {normalisation.channels}."
        )
    return InputNormalisation(normalisation), max(in_channels, normalisation.channels)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def channels_of_file(
    encoder_name: str, weights: Mapping[str, Tensor], encoder_arguments: Mapping[str, Any] | None = None
) -> int | None:
    """Return how many channels the images have that the stem of a file takes, ``None`` where it has no such stem.

    Args:
        encoder_name: of the file's architecture.
        weights: of :func:`~monai_cxrssl.networks.read_weights`.
        encoder_arguments: see :class:`Encoder`.

    Raises:
        ConfigurationError: the encoder cannot be built.
    """
    with torch.random.fork_rng(devices=[]):  # what is trained must not depend on whether a file was looked at
        return stem_channels(weights, build_encoder(encoder_name, encoder_arguments=encoder_arguments))


def refuse_size(part: str, multiple: int, height: int, width: int) -> None:
    """Raise a ConfigurationError for a size of images in pixels that a part of a network cannot take."""
    if height % multiple or width % multiple:
        raise ConfigurationError(
            f"The images are {width} x {height} px; {part} needs multiples of {multiple}. Choose another --image_size."
        )


class Encoder(nn.Module):
    """An encoder and global average pooling: image in, one vector out.

    The state dict holds ``encoder.<key>`` for every key of the smp encoder and nothing else, so that the file of a
    pretrained ``Encoder`` fills the encoder of any smp model of the same name, without this package.

    Args:
        encoder_name: a name of segmentation-models-pytorch (``resnet18``, ``densenet121`` …) or ``tu-`` and a timm
            model (``tu-convnext_tiny``, ``tu-vit_small_patch16_224`` …).
        encoder_weights: ``None`` for random weights or a name that smp knows, such as ``imagenet`` (downloads).
        pretrained: a file of weights to start from, of a bundle of this project or of any public form, see
            :func:`~monai_cxrssl.networks.load_encoder_weights`.
        encoder_arguments: of timm's network, such as ``patch_size``, ``img_size`` or ``drop_path_rate``, for encoders
            named ``tu-``; what such a file was trained with.
        input_normalisation: what the weights expect of their images, which themselves stay in [0, 1]: ``"auto"``, as
            the weights to start from say, a name such as ``"imagenet"``, ``[mean, std]``, or a dictionary with
            ``mean``, ``std`` and ``scale``; see :meth:`monai_cxrssl.networks.Normalisation.of`. By the values of three
            channels a grey image becomes three normalised ones, and the smp encoder has ``in_channels`` 3.

    Attributes:
        normalise: the step before the encoder, without tensors in the state dict.

    Raises:
        ConfigurationError: when the name is unknown, an argument is wrong, the weights do not fit or cannot be had, or
            nothing says how weights of three channels were normalised.

    Example:
        >>> encoder = Encoder("resnet18")
        >>> encoder(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        encoder_name: str = "resnet50",
        in_channels: int = 1,
        encoder_weights: str | None = None,
        pretrained: str | os.PathLike | None = None,
        encoder_arguments: Mapping[str, Any] | None = None,
        input_normalisation: Any = AUTO,
    ) -> None:
        super().__init__()
        self.encoder_name = encoder_name
        self.in_channels = in_channels
        self.normalise, channels = build_normalisation(
            encoder_name, in_channels, encoder_weights, pretrained, input_normalisation
        )
        self.encoder = build_encoder(encoder_name, channels, encoder_weights, encoder_arguments)
        self.encoder_arguments: dict[str, Any] = self.encoder.encoder_arguments  # type: ignore[assignment]
        self.out_channels = int(self.encoder.out_channels[-1])  # type: ignore[index]
        if pretrained is not None:
            load_encoder_weights(self.encoder, pretrained)

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for images that a vision transformer cannot cut into whole patches."""
        if _is_vision_transformer(self.encoder_name):
            refuse_size(self.encoder_name, int(self.encoder.output_stride), height, width)  # type: ignore[arg-type]

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last feature map ``(B, C, h, w)`` of images ``(B, in_channels, H, W)``; see :meth:`check_size`."""
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            features = self.encoder(self.normalise(image))
        else:
            features = self._checked_features(image)
        if isinstance(features, tuple):  # a vision transformer also returns its prefix tokens
            features = features[0]
        return features[-1]

    def _checked_features(self, image: Tensor) -> Any:
        height, width = map(int, image.shape[-2:])
        self.check_size(height, width)
        try:
            return self.encoder(self.normalise(image))
        except AssertionError as error:  # of timm, for encoders such as Swin that are made for one size
            raise ConfigurationError(
                f"The encoder {self.encoder_name} does not take images of {height} x {width} pixels "
                f"({str(error).rstrip('.')}); give the --image_size that it is made for, or another --encoder_name."
            ) from None

    def forward(self, image: Tensor) -> Tensor:
        """Return embeddings ``(B, C)`` of images ``(B, in_channels, H, W)``, float in [0, 1]."""
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.feature_map(image), 1), 1)
