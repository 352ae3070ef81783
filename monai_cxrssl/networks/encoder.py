# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoder with normalised input and pooled features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder_factory import is_vision_transformer
from monai_cxrssl.networks.parts.pooling import last_features
from monai_cxrssl.networks.parts.positions import positions_of
from monai_cxrssl.networks.parts.scripted import scripted_encoder
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
    """An encoder and the pooling of its features: image in, one vector out.

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
        pooling: what becomes of the last features: ``"mean"`` over positions, ``"mean+std"`` with their standard
            deviation, ``"cls"``, the class token of a vision transformer, or ``"cls+mean"``. ``"auto"`` is what the
            weights say; else ``cls+mean`` with a class token and ``mean`` without.
        positions: of a vision transformer: ``"learned"``, or ``"sincos"`` for fixed 2-D sine-cosine ones (MAE), exact
            for any grid. ``"auto"`` is what the weights have, and sine-cosine for random ones.
        drop_path: stochastic depth, the share that the last block skips in training, by timm's ``drop_path_rate``.
            ``None`` for the architecture's own; above 0 only where it has it.
        start: those from ``encoder_weights`` on as one mapping, as the options of a run give them; what is given by
            itself comes first.

    A vision transformer from random weights is initialised as MAE's and sees images of mean .5 and deviation .25.

    Attributes:
        normalise: the step before the encoder, without tensors in the state dict.
        out_channels: length of an embedding.
        map_channels: channels of :meth:`feature_map`.

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
        pooling: str = AUTO,
        positions: str = AUTO,
        drop_path: float | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder_name = encoder_name
        self.in_channels = in_channels
        given = Start(
            encoder_weights, pretrained, encoder_arguments, input_normalisation, pooling, positions, drop_path
        )  # fmt: skip
        built = given.overlaid(start).build(encoder_name, in_channels)
        self.normalise, self.encoder, self.pool = built.normalise, built.encoder, built.pool
        self.encoder_arguments: dict[str, Any] = self.encoder.encoder_arguments  # type: ignore[assignment]
        self.out_channels = self.pool.out_channels
        self.map_channels = int(self.encoder.out_channels[-1])  # type: ignore[index]
        self._is_transformer = is_vision_transformer(encoder_name)

    @property
    def positions(self) -> str | None:
        """``"learned"``, ``"sincos"``, or ``None`` of an encoder that is told places in another way."""
        return positions_of(self.encoder)

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for images that a vision transformer cannot cut into whole patches."""
        if self._is_transformer:
            refuse_size(self.encoder_name, int(self.encoder.output_stride), height, width)  # type: ignore[arg-type]

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what ``torch.jit.script`` compiles: the same weights without the checks of sizes."""
        return scripted_encoder(self)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last map ``(B, map_channels, h, w)`` of images ``(B, C, H, W)``; see :meth:`check_size`."""
        return last_features(self._features(image))[0]

    def _features(self, image: Tensor) -> Any:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return self.encoder(self.normalise(image))
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
        """Return embeddings ``(B, out_channels)`` of images ``(B, in_channels, H, W)``, float in [0, 1]."""
        return self.pool(*last_features(self._features(image)))
