# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stem channels, position embeddings and patch sizes fitted to an encoder."""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["fit", "stem_weights"]

#: Channels that public weights are trained with.
RGB = 3


def stem_weights(network: nn.Module) -> dict[str, int]:
    """Return the weights of the convolutions that take the image, by name, and the image's channels.

    MobileOne, for instance, has several side by side. A stem that first folds pixels into channels counts as its first
    convolution does.
    """
    convolutions = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        return {}
    channels = convolutions[0][1].in_channels
    return {f"{name}.weight": channels for name, module in convolutions if module.in_channels == channels}


def fit(name: str, value: Tensor, network: nn.Module, stems: dict[str, int]) -> tuple[Tensor | None, str | None]:
    """Bring a tensor of a file to the shape that a network has for it.

    Args:
        name: of the tensor in the network.
        value: of the file.
        network: the network that has it.
        stems: of :func:`stem_weights`.

    Returns:
        The tensor, ``None`` where it cannot be brought there, and what was done to it, ``None`` for nothing.
    """
    module, leaf = network.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
    wanted: Tensor = getattr(module, leaf)
    said: list[str] = []
    if value.is_floating_point():
        value = value.float()
    if name in stems and value.ndim == wanted.ndim == 4 and value.shape[1] == RGB * wanted.shape[1]:
        from timm.models._manipulate import adapt_input_conv

        value = adapt_input_conv(1, value)
        said.append(f"{RGB} channels summed")
    if value.shape == wanted.shape:
        return value, _joined(said)
    if value.numel() == wanted.numel() and _without_ones(value) == _without_ones(wanted):
        return value.reshape(wanted.shape), _joined(said)
    before = value
    if name in stems and value.ndim == 4 and value.shape[:2] == wanted.shape[:2] and "patch_embed" in name:
        from timm.layers.patch_embed import resample_patch_embed

        value = resample_patch_embed(value, list(wanted.shape[2:]))
        said.append(f"patches of {_size(before)} resampled to {_size(wanted)}")
    elif leaf == "pos_embed":
        resampled = _positions(value, wanted, module)
        if resampled is None:
            return None, None
        value = resampled
        said.append(f"{_tokens(before)} positions resampled to {_tokens(wanted)}")
    elif leaf == "relative_position_bias_table" and value.ndim == 2 and value.shape[1] == wanted.shape[1]:
        from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

        value = resize_rel_pos_bias_table(value, tuple(module.window_size), tuple(wanted.shape))  # type: ignore
        said.append(f"{before.shape[0]} relative positions resampled to {wanted.shape[0]}")
    return (value, _joined(said)) if value.shape == wanted.shape else (None, None)


def _positions(value: Tensor, wanted: Tensor, model: nn.Module) -> Tensor | None:
    """Resample the positions of a timm transformer, whose prefix tokens, such as the class token, stay as they are."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    value = value.reshape(1, *value.shape[-2:])
    if grid is None or wanted.ndim != 3 or value.shape[-1] != wanted.shape[-1]:
        return None
    prefix = wanted.shape[1] - grid[0] * grid[1]
    if math.isqrt(value.shape[1] - prefix) ** 2 != value.shape[1] - prefix:
        return None
    return resample_abs_pos_embed(value, list(grid), num_prefix_tokens=prefix)


def _without_ones(value: Tensor) -> list[int]:
    return [size for size in value.shape if size != 1]


def _joined(said: list[str]) -> str | None:
    return ", ".join(said) or None


def _size(value: Tensor) -> str:
    return " x ".join(map(str, value.shape[2:])) + " px"


def _tokens(value: Tensor) -> str:
    return str(value.shape[-2])
