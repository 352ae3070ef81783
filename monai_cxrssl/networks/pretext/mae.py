# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masked autoencoder: visible tokens of an encoder, and a decoder of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.token_blocks import TokenBlocks

__all__ = ["MAEDecoder", "VisibleTokens", "patches"]

#: Channels of an attention head of the decoder, 512 / 16 in the paper.
_HEAD_CHANNELS = 32


def patches(images: Tensor, side: int) -> Tensor:
    """Return the patches of images ``(B, C, H, W)``, row by row: ``(B, H W / side^2, C side^2)``.

    Example:
        >>> patches(torch.arange(16.0).view(1, 1, 4, 4), 2)[0, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // side, side, width // side, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * side * side)


class VisibleTokens:
    """Passes a part of an image's patches through a vision transformer; the others cost nothing.

    It is no module: the weights belong to the encoder.

    Attributes:
        depth: number of blocks.
        channels: length of a token.
        patch_size: side of a patch in pixels.

    Raises:
        ConfigurationError: the encoder is no vision transformer, or one whose attention needs all patches.
    """

    def __init__(self, network: Encoder, purpose: str) -> None:
        from timm.models.vision_transformer import VisionTransformer

        tokens = TokenBlocks(network, purpose)
        if not isinstance(network.encoder.model, VisionTransformer):
            raise ConfigurationError(
                f"{purpose} leaves patches out of the encoder, and the attention of {network.encoder_name!r} needs the "
                "whole grid of them. Choose an encoder with plain positions, such as tu-vit_small_patch16_224."
            )
        self.network = network
        self.depth, self.channels, self.patch_size = tokens.depth, tokens.channels, tokens.patch_size
        self.prefix_tokens = tokens.prefix_tokens

    def __call__(self, image: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens of the kept patches and the prefix tokens after the last block, not normalised.

        Args:
            image: ``(B, C, H, W)`` float in [0, 1], sides multiples of ``patch_size``.
            kept: int64 ``(B, K)``, numbers of patches, counted row by row.

        Returns:
            ``(B, K, channels)`` in the order of ``kept``, and ``(B, prefix_tokens, channels)``.
        """
        model: Any = self.network.encoder.model
        prefix = self.prefix_tokens

        def keep(module: nn.Module, arguments: Any, tokens: Tensor) -> Tensor:
            chosen = kept[..., None].expand(-1, -1, tokens.shape[-1])
            return torch.cat([tokens[:, :prefix], tokens[:, prefix:].gather(1, chosen)], dim=1)

        # Patches already have their positions here, and timm has no argument that says which of them to drop.
        handle = model.patch_drop.register_forward_hook(keep)
        try:
            tokens = model.forward_intermediates(
                self.network.normalise(image), indices=[self.depth - 1], output_fmt="NLC", intermediates_only=True,
                return_prefix_tokens=bool(prefix),
            )[0]  # fmt: skip
        finally:
            handle.remove()
        return tokens if prefix else (tokens, tokens[:, :0])


class MAEDecoder(nn.Module):
    """Rebuilds the patches of an image from its visible tokens (He et al. 2022, arXiv 2111.06377, section 3).

    Mask tokens stand in for the other patches, fixed sine-cosine positions are added, and a few blocks and a linear
    layer make the pixels.

    Args:
        in_channels: length of the encoder's tokens.
        patch_values: values of a patch, channels x side x side.
        channels: width, rounded up to a multiple of 32; by default half of the encoder's, as of the paper's ViT-L.
        depth: number of blocks.

    Raises:
        ConfigurationError: fewer than one block or channel.
    """

    def __init__(self, in_channels: int, patch_values: int, channels: int | None = None, depth: int = 8) -> None:
        super().__init__()
        width = in_channels // 2 if channels is None else int(channels)
        from timm.models.vision_transformer import Block

        if depth < 1 or width < 1:
            raise ConfigurationError(
                f"A decoder of {depth} blocks and {width} channels decodes nothing; give 1 or more."
            )
        heads = -(-width // _HEAD_CHANNELS)
        self.channels = heads * _HEAD_CHANNELS
        # The encoder's own last normalisation serves no other method, so the tokens come without one.
        self.embed = nn.Sequential(nn.LayerNorm(in_channels), nn.Linear(in_channels, self.channels))
        self.mask_token = nn.Parameter(torch.empty(self.channels))
        nn.init.normal_(self.mask_token, std=0.02)
        self.blocks = nn.Sequential(*(Block(self.channels, heads, qkv_bias=True) for _ in range(depth)))
        self.to_pixels = nn.Sequential(nn.LayerNorm(self.channels), nn.Linear(self.channels, patch_values))
        self.apply(_initialise)

    def forward(self, visible: Tensor, prefix: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the values of all patches, ``(B, h w, patch_values)``.

        Args:
            visible: tokens ``(B, K, in_channels)`` of the patches ``kept`` ``(B, K)``.
            prefix: tokens ``(B, P, in_channels)`` that belong to no patch; they get no position.
            kept: int64 numbers of the visible patches, counted row by row.
            grid: rows and columns of patches.
        """
        from timm.layers import build_sincos2d_pos_embed

        embedded = self.embed(torch.cat([prefix, visible], dim=1))
        extra, shown = embedded[:, : prefix.shape[1]], embedded[:, prefix.shape[1] :]
        everyone = self.mask_token.to(shown.dtype).expand(len(shown), grid[0] * grid[1], -1)
        everyone = everyone.scatter(1, kept[..., None].expand_as(shown), shown)
        positions = build_sincos2d_pos_embed(list(grid), self.channels, device=shown.device).to(shown.dtype)
        decoded = self.blocks(torch.cat([extra, everyone + positions], dim=1))
        return self.to_pixels(decoded[:, extra.shape[1] :])


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
