# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoders that make an image of an encoder's feature maps."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder, refuse_size

__all__ = ["ReconstructionDecoder"]

DECODERS = ("auto", "Unet", "DPT")


class ReconstructionDecoder(nn.Module):
    """The decoder of an smp model without its encoder: feature maps in, an image of the input's size out.

    It fits an encoder but does not keep it, so that the encoder's weights exist once, in the method that trains it.

    Args:
        decoder: ``"Unet"`` (skip connections from five resolutions; for convolutional encoders), ``"DPT"`` (for vision
            transformers, which have one resolution), or ``"auto"``, the one of the two that fits.

    Raises:
        ConfigurationError: an unknown decoder, or one that does not fit the encoder.

    Example:
        >>> import torch
        >>> network = Encoder("resnet18")
        >>> decoder = ReconstructionDecoder(network)
        >>> decoder(network.encoder(torch.zeros(2, 1, 64, 64))).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, network: Encoder, decoder: str = "auto", out_channels: int = 1) -> None:
        super().__init__()
        from segmentation_models_pytorch.base import SegmentationHead, initialization
        from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

        if decoder not in DECODERS:
            raise ConfigurationError(f"The decoder is {decoder!r}; expected one of {', '.join(DECODERS)}.")
        transformer = isinstance(network.encoder, TimmViTEncoder)
        fitting = "DPT" if transformer else "Unet"
        if decoder not in ("auto", fitting):
            kind = "a vision transformer" if transformer else "a convolutional network"
            raise ConfigurationError(
                f"A {decoder} decoder cannot read {network.encoder_name}, which is {kind}; choose {fitting} or auto."
            )
        self.name = fitting
        encoder: Any = network.encoder
        # The DPT decoder resamples the tokens of any patch to maps of 4, 8, 16 and 32 px.
        self.stride = 32 if transformer else int(encoder.output_stride)
        self.head: nn.Module
        if transformer:
            from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, DPTSegmentationHead

            self.decoder: nn.Module = DPTDecoder(
                encoder_out_channels=encoder.out_channels,
                encoder_output_strides=encoder.output_strides,
                encoder_has_prefix_tokens=encoder.has_prefix_tokens,
                readout="cat" if encoder.has_prefix_tokens else "ignore",
            )
            self.head = DPTSegmentationHead(256, out_channels, activation=None, kernel_size=3, upsampling=2)
        else:
            from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

            self.decoder = UnetDecoder(
                encoder_channels=encoder.out_channels,
                decoder_channels=(256, 128, 64, 32, 16),
                n_blocks=5,
                add_center_block=network.encoder_name.startswith("vgg"),
            )
            self.head = SegmentationHead(16, out_channels, kernel_size=3)
        initialization.initialize_decoder(self.decoder)
        initialization.initialize_head(self.head)

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for an image whose size the decoder cannot restore."""
        # smp's U-Net brings its maps to the size of each skip connection.
        refuse_size(f"a {self.name} decoder on this encoder", self.stride if self.name == "DPT" else 1, height, width)

    def forward(self, features: Any) -> Tensor:
        """Return images ``(B, out_channels, H, W)`` of the maps that ``network.encoder`` gave for ``(B, C, H, W)``."""
        decoded = self.decoder(*features) if self.name == "DPT" else self.decoder(features)
        return self.head(decoded)
