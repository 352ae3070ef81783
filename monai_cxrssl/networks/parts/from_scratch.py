# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random weights of vision transformers, as MAE draws them."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["initialise_transformer"]


def initialise_transformer(encoder: nn.Module) -> None:
    """Draw the weights of a plain vision transformer anew (He et al. 2022, arXiv 2111.06377); leave other encoders.

    Xavier's uniform distribution for linear layers and for the patch embedding, whose kernel is seen as the matrix of
    a linear layer; biases of linear layers 0, tokens normal with a deviation of .02, norms as they are.
    """
    from timm.models.vision_transformer import VisionTransformer

    model: Any = getattr(encoder, "model", None)
    if not isinstance(model, VisionTransformer):
        return
    projection = getattr(model.patch_embed, "proj", None)
    if isinstance(projection, nn.Conv2d):
        nn.init.xavier_uniform_(projection.weight.data.flatten(1))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name in ("cls_token", "dist_token", "reg_token"):
        if getattr(model, name, None) is not None:
            nn.init.normal_(getattr(model, name), std=0.02)
