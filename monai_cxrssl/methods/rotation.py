# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rotation prediction pretext task (RotNet)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder

__all__ = ["Rotation"]


class Rotation(PretextMethod):
    """Classify the angle that an image was turned by (Gidaris et al. 2018, arXiv 1803.07728).

    Views should come upright: ``rotation`` of :class:`~monai_cxrssl.transforms.MultiView` at a few degrees, not at the
    45 of contrastive learning, which would make half of the classes ambiguous.

    Args:
        angles: the classes, in degrees counter-clockwise; different multiples of 90 from 0 to 270.
        copies: how many differently turned copies of each image a batch holds: ``None`` for one per angle, as in the
            paper, or a number of angles drawn at random per image; 1 takes a quarter of the time.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    num_views: ClassVar[int] = 1

    def __init__(
        self, network: Encoder, angles: Sequence[int] = (0, 90, 180, 270), copies: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(network, seed)
        self.angles = tuple(int(angle) for angle in angles)
        if len(self.angles) < 2 or len(set(self.angles)) < len(self.angles) or set(self.angles) - {0, 90, 180, 270}:
            raise ConfigurationError(f"angles is {angles!r}; give at least two different ones of 0, 90, 180 and 270.")
        self.copies = len(self.angles) if copies is None else int(copies)
        if not 1 <= self.copies <= len(self.angles):
            raise ConfigurationError(f"copies is {copies!r}; give null or 1 to {len(self.angles)}, one angle each.")
        self.classifier = nn.Linear(network.out_channels, len(self.angles))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the cross-entropy of a batch and, as ``accuracy``, the share of angles that were told right.

        Each view of ``image`` ``(B, V, 1, S, S)`` float in [0, 1] is a sample of its own. ``trivial_loss`` is that of
        equal probabilities.

        Raises:
            ConfigurationError: the views are not square.
        """
        images = batch["image"].flatten(0, 1)
        if images.shape[-1] != images.shape[-2]:
            raise ConfigurationError(
                f"The views are {images.shape[-1]} x {images.shape[-2]} px: a quarter turn would show in their shape. "
                "Give one --image_size for both sides."
            )
        turned, angle = self.turn(images)
        embedding = self.network(turned)
        logits = self.classifier(embedding).float()
        accuracy = (logits.detach().argmax(dim=1) == angle).float().mean()
        trivial = logits.new_tensor(float(len(self.angles))).log()
        return {
            "loss": cross_entropy(logits, angle),
            "trivial_loss": trivial,
            "accuracy": accuracy,
            "embedding": embedding.detach(),
        }

    def turn(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turn images ``(N, C, S, S)``.

        Return ``(N * copies, C, S, S)``, the copies of an image side by side, and the class of each, int64.
        """
        size, device = len(images), images.device
        every = torch.stack([torch.rot90(images, angle // 90, (2, 3)) for angle in self.angles])
        if self.copies == len(self.angles):
            angle = torch.arange(len(self.angles), device=device).expand(size, -1)
        else:
            random = torch.rand(size, len(self.angles), device=device, generator=self.generator(device))
            angle = random.argsort(dim=1)[:, : self.copies]
        sample = torch.arange(size, device=device)[:, None]
        return every[angle, sample].flatten(0, 1), angle.flatten()
