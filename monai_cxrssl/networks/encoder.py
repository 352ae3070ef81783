# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder with normalised input and global average pooling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder_factory import is_vision_transformer
from monai_cxrssl.networks.start import Start
from monai_cxrssl.networks.starting_normalisation import AUTO

__all__ = ["Encoder", "refuse_size"]


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
        pretrained: weights to start from, of a bundle of this project or of any public form, see
            :func:`~monai_cxrssl.networks.load_encoder_weights`: a file, a folder, ``timm:NAME`` or
            ``hf://ORG/REPO/FILE``, see :func:`~monai_cxrssl.networks.resolve_weights`.
        encoder_arguments: of timm's network, such as ``patch_size``, ``img_size`` or ``drop_path_rate``, for encoders
            named ``tu-``. ``None`` for those of the weights, where they say them or are known; ``{}`` for none.
        input_normalisation: what the weights expect of their images, which themselves stay in [0, 1]: ``"auto"``, as
            the weights to start from say, a name such as ``"imagenet"``, ``[mean, std]``, or a dictionary with
            ``mean``, ``std`` and ``scale``; see :meth:`monai_cxrssl.networks.Normalisation.of`. By the values of three
            channels a grey image becomes three normalised ones, and the smp encoder has ``in_channels`` 3.
        start: the four above as one mapping, as the options of a run give them; what is given by itself comes first.

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
        start: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder_name = encoder_name
        self.in_channels = in_channels
        given = Start(encoder_weights, pretrained, encoder_arguments, input_normalisation)
        self.normalise, self.encoder, _ = given.overlaid(start).build(encoder_name, in_channels)
        self.encoder_arguments: dict[str, Any] = self.encoder.encoder_arguments  # type: ignore[assignment]
        self.out_channels = int(self.encoder.out_channels[-1])  # type: ignore[index]

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for images that a vision transformer cannot cut into whole patches."""
        if is_vision_transformer(self.encoder_name):
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
