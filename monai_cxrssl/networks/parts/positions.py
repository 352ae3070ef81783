# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Position embeddings of vision transformers: learned or fixed 2-D sine-cosine."""

from __future__ import annotations

import math
import types
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = [
    "POSITIONS", "holds_sincos", "positions_at", "positions_of", "sincos_grid", "sincos_positions", "use_sincos",
]  # fmt: skip

POSITIONS = ("learned", "sincos")
#: Largest difference from the table that half precision explains.
_TOLERANCE = 2e-3


def sincos_positions(
    channels: int, height: int, width: int, reference: tuple[int, int] | None = None, device: Any = None
) -> Tensor:
    """Return fixed 2-D sine-cosine positions ``(height * width, channels)``, float32 (MAE, arXiv 2111.06377).

    The first half of the channels says the column and the second the row; of each half, the first half are sines and
    the second cosines of the coordinate times ``10000 ** (-i / (channels / 4))``.

    Args:
        channels: a multiple of 4.
        height: of the grid.
        width: of the grid.
        reference: height and width of the grid whose coordinates are whole numbers; another grid is laid over the same
            area, as interpolated positions would be. By default the grid itself.
        device: where to compute.

    Raises:
        ConfigurationError: when the channels are no multiple of 4.
    """
    if channels % 4:
        raise ConfigurationError(
            f"Sine-cosine positions take a multiple of 4 channels, and the encoder has {channels}."
        )
    whole_height, whole_width = reference or (height, width)
    where = torch.get_default_device() if device is None else torch.device(device)
    return sincos_grid(channels, height, width, whole_height, whole_width, where)


def sincos_grid(
    channels: int, height: int, width: int, whole_height: int, whole_width: int, device: torch.device
) -> Tensor:
    """Compute :func:`sincos_positions`, in the words that TorchScript knows."""
    rows = (torch.arange(height, device=device, dtype=torch.float64) + 0.5) * (whole_height / height) - 0.5
    columns = (torch.arange(width, device=device, dtype=torch.float64) + 0.5) * (whole_width / width) - 0.5
    omega = 10000.0 ** -(torch.arange(channels // 4, device=device, dtype=torch.float64) / (channels // 4))
    halves = []
    for coordinate in (columns.expand(height, -1), rows[:, None].expand(-1, width)):
        angle = coordinate.reshape(-1, 1) * omega
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, 1).float()


def positions_of(encoder: nn.Module) -> str | None:
    """Return ``"learned"`` or ``"sincos"``; ``None`` where an encoder has no such table, but relative ones, say."""
    model = _model(encoder)
    if model is None:
        return None
    return "sincos" if "_pos_embed" in vars(model) else "learned"


def holds_sincos(encoder: nn.Module) -> bool:
    """Whether the table that an encoder holds is that of sine and cosine, as weights of MAE bring it."""
    model = _model(encoder)
    return model is not None and _is_table(model)


def use_sincos(encoder: nn.Module, encoder_name: str) -> None:
    """Fix the positions of an encoder to sines and cosines.

    The table stays in the state dict, for the grid of the network's ``img_size``. Images of another size get
    theirs computed for their own grid over the same area; nothing is resampled. Prefix tokens get 0. A state dict with
    learned ones that is loaded afterwards brings those back.

    Raises:
        ConfigurationError: the encoder is no transformer with learned positions, or its channels are no multiple of 4.
    """
    model = _model(encoder)
    if model is None:
        raise ConfigurationError(
            f"Sine-cosine positions take the place of learned ones of timm's plain vision transformers (tu-vit_*, "
            f"tu-deit_*), and {encoder_name} has none; leave --positions out."
        )
    with torch.no_grad():
        model.pos_embed.copy_(_table(model))
    model.pos_embed.requires_grad_(False)
    model._pos_embed = types.MethodType(_embed, model)
    model.register_load_state_dict_post_hook(_follow_loaded)


def positions_at(encoder: nn.Module, height: int, width: int) -> Tensor:
    """Return the table ``(1, tokens, C)`` of an encoder of fixed positions for images of ``height * width`` px."""
    model: Any = _model(encoder)
    stride = int(encoder.output_stride)  # type: ignore[arg-type]
    return _table(model, (height // stride, width // stride))


def _follow_loaded(model: Any, incompatible_keys: Any) -> None:
    """Go back to learned positions where a state dict brought some."""
    if "_pos_embed" in vars(model) and not _is_table(model):
        del model._pos_embed
        model.pos_embed.requires_grad_(next(model.patch_embed.parameters()).requires_grad)


def _model(encoder: nn.Module) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    model = getattr(encoder, "model", None)
    return model if isinstance(model, VisionTransformer) and model.pos_embed is not None else None


def _is_table(model: Any) -> bool:
    if model.embed_dim % 4:
        return False
    return bool((model.pos_embed.detach().float() - _table(model)).abs().max() < _TOLERANCE)


def _table(model: Any, grid: tuple[int, int] | None = None) -> Tensor:
    """Return the table with a 0 for each prefix token that has a position."""
    own = tuple(model.patch_embed.grid_size)
    rows, columns = grid or own
    table = sincos_positions(model.embed_dim, rows, columns, own, model.pos_embed.device)
    prefix = model.pos_embed.shape[1] - math.prod(own)
    return nn.functional.pad(table, (0, 0, prefix, 0))[None]


def _embed(model: Any, patches: Tensor) -> Tensor:
    """Do what timm's ``_pos_embed`` does, with positions made for the grid at hand."""
    own = tuple(model.patch_embed.grid_size)
    if patches.ndim == 3 or tuple(patches.shape[1:3]) == own:
        table = model.pos_embed[:, model.pos_embed.shape[1] - math.prod(own) :]
    else:
        height, width = map(int, patches.shape[1:3])
        table = sincos_positions(model.embed_dim, height, width, own, patches.device)[None]
    # Not in the type of the patches: autocast makes them coarser, and timm's sum is in that of the weights.
    patches = (patches.flatten(1, 2) if patches.ndim == 4 else patches) + table.to(model.pos_embed.dtype)
    tokens = (getattr(model, name, None) for name in ("cls_token", "dist_token", "reg_token"))
    prefix = [token.expand(patches.shape[0], -1, -1) for token in tokens if token is not None]
    return model.pos_drop(torch.cat([*prefix, patches], 1))
