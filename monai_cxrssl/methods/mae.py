# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MAE: masked autoencoder on a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.methods.trivial_loss import RunningMean
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.pretext.mae import MAEDecoder, VisibleTokens, patches

__all__ = ["MAE"]


class MAE(PretextMethod):
    """Rebuild an image from a quarter of its patches (He et al. 2022, arXiv 2111.06377).

    The encoder sees the visible patches alone; a small decoder sees their tokens and a mask token in the place of each
    other patch, and predicts its pixels, normalised by the mean and the standard deviation of that patch. The loss is
    the mean squared error over the masked patches.

    Our choices: the tokens leave the encoder without its last normalisation, and the decoder has one of its own; the
    decoder has half of the encoder's channels and a third of its blocks, which for the paper's ViT-L are its 512 and 8.
    Positions of the decoder are the paper's, fixed sines and cosines; those of the encoder are the encoder's.

    Args:
        mask_ratio: share of the patches that are masked, in (0, 1), the same number in each image.
        decoder_channels: width of the decoder, rounded up to a multiple of 32.
        decoder_depth: blocks of the decoder.
        normalise_patches: predict normalised patches, rather than the pixels themselves.

    Raises:
        ConfigurationError: the encoder is no vision transformer, or needs all of its patches, or an option is out of
            its range.
    """

    num_views: ClassVar[int] = 1

    def __init__(
        self,
        network: Encoder,
        mask_ratio: float = 0.75,
        decoder_channels: int | None = None,
        decoder_depth: int | None = None,
        normalise_patches: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(network, seed)
        if not 0 < mask_ratio < 1:
            raise ConfigurationError(f"mask_ratio is {mask_ratio!r}; give a share between 0 and 1.")
        self.mask_ratio = float(mask_ratio)
        self.normalise_patches = normalise_patches
        self.tokens = VisibleTokens(network, "MAE")
        depth = max(self.tokens.depth // 3, 1) if decoder_depth is None else decoder_depth
        self.decoder = MAEDecoder(
            self.tokens.channels, network.in_channels * self.tokens.patch_size**2, decoder_channels, depth
        )
        self.mean_target = RunningMean()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of ``image`` ``(B, V, 1, H, W)`` float in [0, 1], sides multiples of the patch.

        Each view is a sample of its own. ``trivial_loss`` is that of the mean of all images so far, patch by
        patch.
        """
        images = batch["image"].flatten(0, 1)
        kept, masked = self.choose(images)
        prediction, visible = self._predict(images, kept)
        with torch.autocast(images.device.type, enabled=False):
            target = self.target(images)
            mean = self.mean_target(target).expand_as(target)
            wanted = _rows(target, masked)
            loss = (_rows(prediction, masked).float() - wanted).square().mean()
            trivial = (_rows(mean, masked) - wanted).square().mean()
        return {"loss": loss, "trivial_loss": trivial, "embedding": visible.detach().mean(1)}

    def choose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the patches of each image that stay visible and those that are masked.

        Return their numbers, counted row by row, int64 ``(B, K)`` and ``(B, M)``.
        """
        height, width = self._grid(images)
        count = height * width
        masked = min(max(round(self.mask_ratio * count), 1), count - 1)
        noise = torch.rand(len(images), count, device=images.device, generator=self.generator(images.device))
        order = noise.argsort(dim=1)
        return order[:, masked:], order[:, :masked]

    def target(self, images: Tensor) -> Tensor:
        """Return what is predicted of images ``(B, C, H, W)``: float32 ``(B, patches, values of a patch)``."""
        values = patches(images.float(), self.tokens.patch_size)
        if not self.normalise_patches:
            return values
        variance, mean = torch.var_mean(values, dim=-1, correction=0, keepdim=True)
        # The constant is that of the paper's scale; a flat patch, such as air beside the body, becomes zeros.
        return (values - mean) / (variance + 1e-6).sqrt()

    def _predict(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        visible, prefix = self.tokens(images, kept)
        return self.decoder(visible, prefix, kept, self._grid(images)), visible

    def _grid(self, images: Tensor) -> tuple[int, int]:
        height, width, patch = *images.shape[2:], self.tokens.patch_size
        if height % patch or width % patch or height * width < 2 * patch**2:
            raise ConfigurationError(
                f"Images of {height} x {width} pixels cannot be cut into two or more patches of {patch}; choose an "
                "image size that is a multiple of the patch size."
            )
        return height // patch, width // patch


def _rows(values: Tensor, numbers: Tensor) -> Tensor:
    """Return the rows ``(B, M, D)`` of these numbers ``(B, M)``."""
    return values.gather(1, numbers[..., None].expand(-1, -1, values.shape[-1]))
