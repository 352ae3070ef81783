# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""SPCXR: group masking (GMML), with a contrastive token and rotation (SiT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ignite.distributed as idist
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.masked_reconstruction import MaskedReconstructionLoss
from monai_cxrssl.losses.nt_xent import NTXentLoss
from monai_cxrssl.losses.task_weights import TaskWeights
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.methods.rotation import turned
from monai_cxrssl.methods.trivial_loss import TrivialReconstruction
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.gmml_head import GMMLHead, mean_of_blocks
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.momentum import EMACopy, momentum_at
from monai_cxrssl.networks.token_blocks import TokenBlocks, last_half_blocks
from monai_cxrssl.transforms.corruptions.group_mask import GroupMask

__all__ = ["SPCXR"]


class SPCXR(PretextMethod):
    """Group masked model learning on a vision transformer (Anwar et al. 2022, arXiv 2211.12944).

    The encoder sees all tokens of an image whose blocks are corrupted by :class:`GroupMask`; a light head rebuilds the
    image from the normalised mean of blocks 6, 8, 10 and 12 (of twelve), each normalised before (our choice, so that
    none weighs more); the loss is L1 on the corrupted pixels only.

    With ``contrastive`` (the SiT form) each batch holds two views. A momentum twin of the encoder, the teacher, sees
    them clean; the class tokens of a corrupted view and of the other, clean view, each behind a projection head, are
    a positive pair. Our choices: both pairs of an image count; the contrastive loss is NT-Xent over the student's and
    the teacher's projections; the class token is taken before the encoder's final normalisation, which the encoder
    does not use; the teacher's projection head normalises by the batch, as MoCo's key encoder does.

    With ``rotation_task`` the corrupted image is turned by a quarter turn drawn at random, which a linear classifier
    tells from the class token, or from the mean of the patches where there is none (our choice; SiT has a token of its
    own). ``weighting="uncertainty"`` learns the weights of the tasks; both are of the 2022 form of SiT.

    Args:
        fraction, largest_block, alien_prob, alien_fraction, noise_mean, noise_std: see :class:`GroupMask`; its patches
            are the encoder's.
        contrastive: train the SiT form, which needs two views.
        momentum: of the teacher at the start; it rises to 1 along a cosine.
        projection_channels: length of the projection that the contrastive loss sees.
        reconstruction_weight: factor of the reconstruction loss beside other tasks, 1, or 5 for small data; without
            effect where weights are learned.
        rotation_task: tell quarter turns, too.
        weighting: of the tasks, ``"fixed"`` or ``"uncertainty"`` (:class:`~monai_cxrssl.losses.TaskWeights`).
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
        rotation_task: bool = False,
        weighting: str = "fixed",
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
        self.trivial = TrivialReconstruction(self.reconstruction_loss)
        self.reconstruction_weight = float(reconstruction_weight)
        self.contrastive, self.rotation_task = contrastive, rotation_task
        tasks = ["reconstruction", *["contrast"] * contrastive, *["rotation"] * rotation_task]
        if weighting not in ("fixed", "uncertainty") or (weighting == "uncertainty" and len(tasks) == 1):
            raise ConfigurationError(
                f"The weighting is {weighting!r} of the tasks {', '.join(tasks)}; expected 'fixed', or 'uncertainty' "
                "with the contrastive or the rotation task beside the reconstruction."
            )
        self.task_weights = TaskWeights(tasks) if weighting == "uncertainty" else None
        if rotation_task:
            channels = self.tokens.channels
            self.rotation_classifier = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 4))
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
        self.mask_same_patient = mask_same_patient

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch and ``trivial_loss``, see :class:`~monai_cxrssl.methods.TrivialReconstruction`.

        With other tasks there are ``reconstruction_loss``, to compare with it, and of the rotation ``accuracy``.

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
        generator = self.generator(views.device)
        images, clean = views.transpose(0, 1).flatten(0, 1), views.flip(1).transpose(0, 1).flatten(0, 1)
        angle = torch.zeros(0, dtype=torch.int64, device=views.device)
        if self.rotation_task:
            angle = torch.randint(4, images.shape[:1], generator=generator, device=views.device)
            images = turned(images, angle[:, None])
        corrupted, mask = self._corrupt(images, generator)
        maps, prefix = self.tokens(corrupted, self.blocks)
        rebuilt = self.reconstruction_head(mean_of_blocks(maps))
        losses = {"reconstruction": self.reconstruction_loss(rebuilt, images, mask)}
        embedding = self.network.pool(maps[-1].detach(), None if prefix is None else prefix.detach())
        output = {"trivial_loss": self.trivial(images, mask), "embedding": embedding}
        if self.contrastive:
            assert prefix is not None  # the constructor checked for a class token
            losses["contrast"] = self._contrast(prefix[:, 0], clean, batch)
        if self.rotation_task:
            token = prefix[:, 0] if prefix is not None and self.tokens.has_class_token else maps[-1].mean((2, 3))
            logits = self.rotation_classifier(token).float()
            losses["rotation"] = cross_entropy(logits, angle)
            output["accuracy"] = (logits.detach().argmax(1) == angle).float().mean()
        if len(losses) == 1:
            return {"loss": losses["reconstruction"], **output}
        output["reconstruction_loss"] = losses["reconstruction"].detach()
        if self.task_weights is not None:
            return {"loss": self.task_weights(losses), **output}
        losses["reconstruction"] = self.reconstruction_weight * losses["reconstruction"]
        return {"loss": torch.stack(list(losses.values())).sum(), **output}

    def _contrast(self, token: Tensor, clean: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        student = self.projection_head(token)
        with torch.no_grad():
            prefix = self.tokens(clean, self.blocks[-1:], network=self.teacher.network)[1]
            assert prefix is not None
            teacher = self.teacher_head(prefix[:, 0])
        return self.contrastive_loss(student, teacher, self._groups(batch))

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupt images ``(B, C, H, W)`` float in [0, 1] and rebuild them, to look at.

        Return the corrupted images, the bool mask ``(B, 1, H, W)`` of what is corrupted, and the output of the head.
        """
        corrupted, mask = self.group_mask(images, generator)
        with torch.no_grad():
            maps, _ = self.tokens(corrupted, self.blocks)
            return corrupted, mask, self.reconstruction_head(mean_of_blocks(maps))

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student."""
        if self.contrastive:
            momentum = momentum_at(progress, self.momentum)
            self.teacher.update(self.network, momentum)
            self.teacher_head.update(self.projection_head, momentum)

    def _corrupt(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        # One view number at a time: the donor is then never another view of the same image.
        parts = [self.group_mask(views, generator) for views in images.chunk(self.num_views)]
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
