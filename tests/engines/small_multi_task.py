# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A small network with two branches, a plain loss for it, and batches, for the tests of fine-tuning."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallMultiTask(nn.Module):
    """``(B, 1, H, W)`` in, three label logits and one mask channel out; its encoder has batch normalisation."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
        self.decoder = nn.Conv2d(8, 1, 1)
        self.label_head = nn.Linear(8, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.encoder(image)
        return {"label": self.label_head(features.mean((2, 3))), "mask": self.decoder(features)}

    def layer_groups(self) -> list[tuple[str, dict[str, nn.Parameter]]]:
        layers = {"stem": "encoder.0.", "stage_1": "encoder.1.", "heads": ("decoder.", "label_head.")}
        named = dict(self.named_parameters())
        return [
            (layer, {name: named[name] for name in named if name.startswith(start)}) for layer, start in layers.items()
        ]


class PlainLoss(nn.Module):
    """Cross-entropy over known labels and binary cross-entropy over known masks, each 0 without any."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, output, batch) -> dict[str, Tensor]:
        known, has = batch["label"] >= 0, batch["has_mask"]
        label, mask = output["label"][:0].sum(), output["mask"][:0].sum()
        if known.any():
            label = F.cross_entropy(output["label"][known], batch["label"][known])
        if has.any():
            mask = F.binary_cross_entropy_with_logits(output["mask"][has], batch["mask"][has].float())
        weighted = label * torch.exp(-self.log_variance[0]) + mask * torch.exp(-self.log_variance[1])
        return {"loss": weighted + self.log_variance.sum() / 2, "label_loss": label, "mask_loss": mask}


def batches(count: int, size: int = 6, seed: int = 0, side: int = 8) -> list[dict[str, Tensor]]:
    """Batches in which the class is the brightness, the mask the bright half, and some of either are unknown."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        label = torch.arange(size) % 3
        image = 0.25 * torch.rand(size, 1, side, side, generator=generator) + 0.25 * label[:, None, None, None]
        image[..., : side // 2] += 0.25
        mask = torch.zeros(size, 1, side, side, dtype=torch.uint8)
        mask[..., : side // 2] = 1
        has_mask = torch.arange(size) % 2 == 0
        made.append(
            {
                "image": image,
                "label": torch.where(torch.arange(size) == 5, -1, label),
                "mask": mask * has_mask[:, None, None, None],
                "has_mask": has_mask,
                "patient": torch.arange(size) // 2,
                "index": torch.arange(size) + 100 * number,
            }
        )
    return made
