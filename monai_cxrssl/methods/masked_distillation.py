# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masked feature distillation (EVA-X)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.start import encoder_of_file
from monai_cxrssl.networks.starting_normalisation import AUTO
from monai_cxrssl.networks.token_blocks import TokenBlocks
from monai_cxrssl.networks.weights.locations import resolve_weights
from monai_cxrssl.transforms.corruptions.group_mask import draw_blocks

__all__ = ["MaskedDistillation"]


class MaskedDistillation(PretextMethod):
    """Learn from a frozen encoder by masked image modelling, as EVA-X does (Yao et al. 2024, arXiv 2405.05237).

    Blocks of patches become a learned mask token before they enter the student, a vision transformer; a linear head
    predicts what the teacher, who sees the whole image, makes of them. The loss is minus the cosine similarity, meaned
    over the masked patches of the batch.

    Our choices: any encoder of this package may teach, its last feature map resized to the student's patches
    (bilinear, with a wider kernel where it shrinks); the student's last tokens pass a layer normalisation of the
    method's own before the head.

    The teacher stays in evaluation mode and out of the state dict: it is a file, read again when a run is resumed. That
    file must therefore stay where it is, unchanged, while the run lasts.

    Args:
        teacher_weights: the ``model.pt`` of a bundle, or a state dict of an encoder; see
            :func:`monai_cxrssl.networks.load_encoder_weights`.
        teacher_name: the teacher's encoder name, by default what the description of its weights says.
        teacher_arguments: the teacher's ``encoder_arguments``, by default as its file says.
        teacher_normalisation: the teacher's ``input_normalisation``, see :class:`~monai_cxrssl.networks.Encoder`.
        mask_ratio: share of the patches that are masked, in (0, 1); up to one block more are.
        largest_block: greatest block height and width, as a share of the image's.

    Raises:
        ConfigurationError: when the student is no vision transformer, the teacher cannot be had, or an option is out of
            its range.
    """

    def __init__(
        self,
        network: Encoder,
        teacher_weights: str | os.PathLike,
        teacher_name: str | None = None,
        mask_ratio: float = 0.4,
        largest_block: float = 0.3,
        seed: int = 0,
        teacher_normalisation: Any = AUTO,
        teacher_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(network, seed)
        for name, share in (("mask_ratio", mask_ratio), ("largest_block", largest_block)):
            if not 0 < share < 1:
                raise ConfigurationError(f"{name} is {share!r}; give a share between 0 and 1.")
        self.mask_ratio = float(mask_ratio)
        self.largest_block = float(largest_block)
        self.tokens = TokenBlocks(network, "Masked distillation")
        path = resolve_weights(teacher_weights)
        encoder_name = teacher_name or encoder_of_file(path)[0]
        if encoder_name is None:
            raise ConfigurationError(
                f"{os.fspath(teacher_weights)} does not say which encoder the teacher is, neither inside nor in a "
                ".json file beside it; give teacher_name."
            )
        teacher = Encoder(
            encoder_name,
            network.in_channels,
            pretrained=path,
            input_normalisation=teacher_normalisation,
            encoder_arguments=teacher_arguments,
        )
        teacher.eval().requires_grad_(False)
        # In a list the teacher is no submodule: not saved, never told to train, not sent to other processes.
        self._teacher = [teacher]
        self.mask_token = nn.Parameter(torch.empty(self.tokens.channels))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.prediction_head = nn.Sequential(
            nn.LayerNorm(self.tokens.channels), nn.Linear(self.tokens.channels, teacher.map_channels)
        )

    @property
    def teacher(self) -> Encoder:
        """The frozen encoder."""
        return self._teacher[0]

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of ``image`` ``(B, 1, 1, H, W)`` float in [0, 1], sides multiples of the patch."""
        images = batch["image"][:, 0]
        grid = self._grid(images)
        target = torch.full(images.shape[:1], self.mask_ratio, device=images.device)
        mask = draw_blocks(grid, target, self.largest_block, self.generator(images.device), self.mask_ratio)
        maps, _ = self.tokens(images, [self.tokens.depth - 1], token_mask=mask, mask_token=self.mask_token)
        prediction = self.prediction_head(maps[-1].permute(0, 2, 3, 1))
        wanted = self.teacher_features(images, grid).permute(0, 2, 3, 1)
        cosine = F.cosine_similarity(prediction.float(), wanted, dim=-1)
        # Sums over a mask, not an index by it, which would wait for the device.
        loss = -(cosine * mask).sum() / mask.sum()
        return {"loss": loss, "embedding": maps[-1].detach().mean((2, 3))}

    @torch.no_grad()
    def teacher_features(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the teacher's features on the student's grid, float32 ``(B, teacher channels, h, w)``."""
        if next(self.teacher.parameters()).device != images.device:
            self.teacher.to(images.device)
        features = self.teacher.feature_map(images).float()
        if features.shape[2:] != grid:
            features = F.interpolate(features, grid, mode="bilinear", align_corners=False, antialias=True)
        return features

    def _grid(self, images: Tensor) -> tuple[int, int]:
        height, width, patch = *images.shape[2:], self.tokens.patch_size
        if height % patch or width % patch:
            raise ConfigurationError(
                f"Images of {height} x {width} pixels cannot be cut into patches of {patch}; choose an image size that "
                "is a multiple of the patch size."
            )
        return height // patch, width // patch
