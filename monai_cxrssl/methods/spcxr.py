# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""SPCXR: group masking (GMML), optionally with a contrastive token (SiT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ignite.distributed as idist
import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.masked_reconstruction import MaskedReconstructionLoss
from monai_cxrssl.losses.nt_xent import NTXentLoss
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.gmml_head import GMMLHead
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.momentum import EMACopy, momentum_at
from monai_cxrssl.networks.token_blocks import TokenBlocks, last_half_blocks
from monai_cxrssl.transforms.corruptions.group_mask import GroupMask

__all__ = ["SPCXR"]


class SPCXR(PretextMethod):
    """Group masked model learning on a vision transformer (Anwar et al. 2022, arXiv 2211.12944).

    The encoder sees all tokens of an image whose blocks are corrupted by :class:`GroupMask`; a light head rebuilds the
    image from the mean of blocks 6, 8, 10 and 12 (of twelve); the loss is L1 on the corrupted pixels only.

    With ``contrastive`` (the SiT form) each batch holds two views. A momentum twin of the encoder, the teacher, sees
    them clean; the class tokens of a corrupted view and of the other, clean view, each behind a projection head, are
    a positive pair. Our choices: both pairs of an image count; the contrastive loss is NT-Xent over the student's and
    the teacher's projections; the class token is taken before the encoder's final normalisation, which the encoder
    does not use; the teacher's projection head normalises by the batch, as MoCo's key encoder does.

    Args:
        fraction, largest_block, alien_prob, alien_fraction, noise_mean, noise_std: see :class:`GroupMask`; its patches
            are the encoder's.
        contrastive: train the SiT form, which needs two views.
        momentum: of the teacher at the start; it rises to 1 along a cosine.
        projection_channels: length of the projection that the contrastive loss sees.
        reconstruction_weight: factor of the reconstruction loss in the SiT form, 1, or 5 for small data.
        gather: take the samples of all processes as negatives.
        mask_same_patient: do not take images of one patient as negatives of each other (our choice). The batch must
            then hold ``patient``; only the SiT form reads it.

    Raises:
        ConfigurationError: when the encoder is no vision transformer or lacks a class token that ``contrastive`` needs,
            or an option is out of its range.
    """

    def __init__(
        self,
        network: Encoder,
        fraction: Sequence[float] = (0.5, 0.75),
        largest_block: float = 0.3,
        alien_prob: float = 0.5,
        alien_fraction: float = 0.3,
        noise_mean: float = 0.5,
        noise_std: float = 0.25,
        head_layers: int = 3,
        contrastive: bool = False,
        momentum: float = 0.996,
        temperature: float = 0.2,
        projection_channels: int = 128,
        reconstruction_weight: float = 1.0,
        gather: bool = False,
        mask_same_patient: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(network, seed)
        self.num_views = 2 if contrastive else 1  # type: ignore[misc]
        self.tokens = TokenBlocks(network, "SPCXR")
        self.blocks = last_half_blocks(self.tokens.depth)
        patch = self.tokens.patch_size
        self.group_mask = GroupMask(patch, fraction, largest_block, alien_prob, alien_fraction, noise_mean, noise_std)
        self.reconstruction_head = GMMLHead(
            self.tokens.channels, self.tokens.patch_size, network.in_channels, head_layers
        )
        self.reconstruction_loss = MaskedReconstructionLoss("l1")
        self.contrastive = contrastive
        if not contrastive:
            return
        if not self.tokens.has_class_token:
            raise ConfigurationError(
                f"The contrastive form of SPCXR needs a class token, and {network.encoder_name!r} has none. Choose an "
                "encoder such as tu-vit_small_patch16_224, or contrastive: false."
            )
        self.projection_head = ProjectionHead(self.tokens.channels, out_channels=projection_channels)
        self.teacher = EMACopy(network, momentum, keep_eval=True)
        self.teacher_head = EMACopy(self.projection_head, momentum)
        self.momentum = float(momentum)
        self.contrastive_loss = NTXentLoss(temperature, gather=gather)
        self.reconstruction_weight = float(reconstruction_weight)
        self.mask_same_patient = mask_same_patient

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch.

        Args:
            batch: ``image`` ``(B, num_views, 1, H, W)`` float in [0, 1], sides multiples of the patch; ``patient``
                ``(B,)`` integer ids, for the SiT form.
        """
        views = batch["image"]
        if views.shape[1] != self.num_views:
            raise ConfigurationError(
                f"SPCXR got {views.shape[1]} views of each image and expected {self.num_views} "
                f"(contrastive is {self.contrastive}); set num_views of the views to that."
            )
        images = views.transpose(0, 1).flatten(0, 1)
        corrupted, mask = self._corrupt(views)
        maps, prefix = self.tokens(corrupted, self.blocks)
        rebuilt = self.reconstruction_head(torch.stack(maps).mean(0))
        loss = self.reconstruction_loss(rebuilt, images, mask)
        embedding = maps[-1].detach().mean((2, 3))
        if not self.contrastive:
            return {"loss": loss, "embedding": embedding}

        assert prefix is not None  # the constructor checked for a class token
        student = self.projection_head(prefix[:, 0])
        other = views.flip(1).transpose(0, 1).flatten(0, 1)
        with torch.no_grad():
            clean = self.tokens(other, self.blocks[-1:], network=self.teacher.network)[1]
            assert clean is not None
            teacher = self.teacher_head(clean[:, 0])
        contrast = self.contrastive_loss(student, teacher, self._groups(batch))
        return {"loss": contrast + self.reconstruction_weight * loss, "embedding": embedding}

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt images ``(B, C, H, W)`` float in [0, 1] and rebuild them, to look at.

        Return the corrupted images, the bool mask ``(B, 1, H, W)`` of what is corrupted, and the output of the head.
        """
        corrupted, mask = self.group_mask(images, generator)
        with torch.no_grad():
            maps, _ = self.tokens(corrupted, self.blocks)
            return corrupted, mask, self.reconstruction_head(torch.stack(maps).mean(0))

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student."""
        if self.contrastive:
            momentum = momentum_at(progress, self.momentum)
            self.teacher.update(self.network, momentum)
            self.teacher_head.update(self.projection_head, momentum)

    def _corrupt(self, views: Tensor) -> tuple[Tensor, Tensor]:
        # One view number at a time: the donor is then never another view of the same image.
        generator = self.generator(views.device)
        parts = [self.group_mask(views[:, number], generator) for number in range(views.shape[1])]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _groups(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return an id per pair; the two pairs of one image, or of one patient, are not negatives of each other."""
        views = batch["image"]
        if not self.mask_same_patient:
            size = views.shape[0]
            return (torch.arange(size, device=views.device) + idist.get_rank() * size).repeat(2)
        if "patient" not in batch:
            raise ConfigurationError(
                "The batch names no patient, so images of one patient cannot be kept from being negatives of each "
                "other; add patient ids or set mask_same_patient to false."
            )
        return batch["patient"].repeat(2)
