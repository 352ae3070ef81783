# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Token blocks of a vision transformer with mask tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder

__all__ = ["TokenBlocks", "last_half_blocks"]


def last_half_blocks(depth: int) -> list[int]:
    """Return up to four blocks, evenly spaced from the middle to the last, counted from 0.

    Example:
        >>> last_half_blocks(12)  # blocks 6, 8, 10 and 12 in the count of the GMML paper
        [5, 7, 9, 11]
        >>> last_half_blocks(2)
        [0, 1]
    """
    return sorted({max(round(depth * (3 + step) / 6), 1) - 1 for step in range(4)})


class TokenBlocks:
    """Reads tokens of an encoder's blocks; the encoder stays as it is, and its state dict too.

    It is no module: the weights belong to the encoder, built from a ``tu-vit_*`` name or another plain vision
    transformer of timm. The message of an error names the purpose.

    Attributes:
        depth: number of blocks.
        channels: length of a token.
        patch_size: side of a patch in pixels.
        prefix_tokens: how many tokens stand before the patches', the class token first.

    Raises:
        ConfigurationError: when the encoder is no vision transformer.
    """

    def __init__(self, network: Encoder, purpose: str) -> None:
        model: Any = getattr(network.encoder, "model", None)
        if not all(hasattr(model, name) for name in ("blocks", "patch_embed", "forward_intermediates")):
            raise ConfigurationError(
                f"{purpose} works on the patches of a vision transformer, and {network.encoder_name!r} is none. "
                "Choose an encoder such as tu-vit_small_patch16_224."
            )
        self.network = network
        self.depth = len(model.blocks)
        self.channels = int(model.embed_dim)
        self.patch_size = int(network.encoder.output_stride)  # type: ignore[arg-type]
        self.prefix_tokens = int(getattr(model, "num_prefix_tokens", 0))
        self.has_class_token = isinstance(getattr(model, "cls_token", None), Tensor)

    def __call__(
        self,
        image: Tensor,
        blocks: Sequence[int],
        token_mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        network: nn.Module | None = None,
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return token maps of some blocks.

        Args:
            image: ``(B, C, H, W)`` float in [0, 1], sides multiples of ``patch_size``.
            blocks: block numbers in increasing order, counted from 0.
            token_mask: bool ``(B, h, w)``; where true, the embedded patch is replaced before the position is added.
            mask_token: ``(channels,)``, what replaces it.
            network: an encoder of the same structure to use instead, such as a momentum twin.

        Returns:
            One map ``(B, channels, h, w)`` per block, before any final normalisation, and the prefix tokens
            ``(B, prefix_tokens, channels)`` of the last of these blocks, or ``None``.
        """
        source: Any = self.network if network is None else network
        model: Any = source.encoder.model
        options = {"return_prefix_tokens": True} if self.prefix_tokens else {}
        handle = None
        if token_mask is not None and mask_token is not None:
            mask, token = token_mask, mask_token

            def replace(module: nn.Module, arguments: Any, embedded: Tensor) -> Tensor:
                # Models of a fixed image size flatten the grid at once, the others keep it: (B, N, D) or (B, h, w, D).
                chosen = mask.reshape(*embedded.shape[:-1], 1)
                return torch.where(chosen, token.to(embedded.dtype), embedded)

            # timm's transformers have no argument for mask tokens; a hook serves all of them alike.
            handle = model.patch_embed.register_forward_hook(replace)
        try:
            outputs = model.forward_intermediates(
                source.normalise(image), indices=list(blocks), intermediates_only=True, **options
            )
        finally:
            if handle is not None:
                handle.remove()
        if not self.prefix_tokens:
            return list(outputs), None
        return [output[0] for output in outputs], outputs[-1][1]
