# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder factory on smp and timm, with pooling."""

from __future__ import annotations

import difflib
import logging
import os
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.normalisation import InputNormalisation
from monai_cxrssl.networks.pretrained import load_encoder_weights
from monai_cxrssl.networks.starting_normalisation import AUTO, starting_normalisation, unavailable_weights

__all__ = ["Encoder", "build_encoder", "build_normalisation", "refuse_size"]

logger = logging.getLogger(__name__)

#: timm modules whose models keep one token grid through all blocks; smp reads these with its DPT encoder.
_TOKEN_MODULES = ("vision_transformer", "deit", "beit", "eva", "vision_transformer_relpos", "vision_transformer_hybrid")
#: What timm's transformers hold after their last block; no part of the feature map that smp takes.
_AFTER_THE_BLOCKS = ("norm", "fc_norm", "attn_pool", "head", "head_dist")


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


def build_encoder(encoder_name: str, in_channels: int = 1, encoder_weights: str | None = None) -> nn.Module:
    """Build the encoder that an smp model of this name would build, with the same parameter names.

    The weights are random for ``None``, else of a name that smp knows (``imagenet``; downloads). Weights trained on
    three channels are summed over them. For names see :class:`Encoder`.

    Raises:
        ConfigurationError: when the name is unknown, or the weights cannot be had.
    """
    from segmentation_models_pytorch.encoders import get_encoder
    from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

    _check_name(encoder_name)
    try:
        if _is_vision_transformer(encoder_name):
            encoder = TimmViTEncoder(
                name=encoder_name[3:],
                in_channels=in_channels,
                depth=4,
                pretrained=encoder_weights is not None,
                dynamic_img_size=True,
            )
            for name in _AFTER_THE_BLOCKS:
                unused = getattr(encoder.model, name, None)
                if isinstance(unused, nn.Module):
                    # Data-parallel training stops at weights that want a gradient and get none.
                    unused.requires_grad_(False)
            return encoder
        return get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=encoder_weights)
    except Exception as error:
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
        pretrained: a file of weights to start from: the ``model.pt`` of a bundle of this project, or any state dict of
            tensors whose keys are those of this encoder, with or without a prefix.
        input_normalisation: what the weights expect of their images, which themselves stay in [0, 1]: ``"auto"``, as
            the weights to start from say, a name such as ``"imagenet"``, ``[mean, std]``, or a dictionary with
            ``mean``, ``std`` and ``scale``; see :meth:`monai_cxrssl.networks.Normalisation.of`. By the values of three
            channels a grey image becomes three normalised ones, and the smp encoder has ``in_channels`` 3.

    Attributes:
        normalise: the step before the encoder, without tensors in the state dict.

    Raises:
        ConfigurationError: when the name is unknown, the weights do not fit or cannot be had, or nothing says how
            weights of three channels were normalised.

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
        input_normalisation: Any = AUTO,
    ) -> None:
        super().__init__()
        self.encoder_name = encoder_name
        self.in_channels = in_channels
        self.normalise, channels = build_normalisation(
            encoder_name, in_channels, encoder_weights, pretrained, input_normalisation
        )
        self.encoder = build_encoder(encoder_name, channels, encoder_weights)
        self.out_channels = int(self.encoder.out_channels[-1])  # type: ignore[index]
        if pretrained is not None:
            load_encoder_weights(self.encoder, pretrained)

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for images that a vision transformer cannot cut into whole patches."""
        if _is_vision_transformer(self.encoder_name):
            refuse_size(self.encoder_name, int(self.encoder.output_stride), height, width)  # type: ignore[arg-type]

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last feature map ``(B, C, h, w)`` of images ``(B, in_channels, H, W)``; see :meth:`check_size`."""
        if not (torch.jit.is_tracing() or torch.compiler.is_compiling()):
            self.check_size(int(image.shape[-2]), int(image.shape[-1]))
        features = self.encoder(self.normalise(image))
        if isinstance(features, tuple):  # a vision transformer also returns its prefix tokens
            features = features[0]
        return features[-1]

    def forward(self, image: Tensor) -> Tensor:
        """Return embeddings ``(B, C)`` of images ``(B, in_channels, H, W)``, float in [0, 1]."""
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.feature_map(image), 1), 1)
