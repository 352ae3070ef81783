# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inpainting-CXR: fill in holes over the lungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.masked_reconstruction import MaskedReconstructionLoss
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.methods.trivial_loss import TrivialReconstruction
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.normalisation import normalised_features
from monai_cxrssl.networks.reconstruction import ReconstructionDecoder
from monai_cxrssl.transforms.corruptions.inpaint_holes import InpaintHoles

__all__ = ["Inpainting"]


class Inpainting(PretextMethod):
    """Blank holes that are centred on the lungs and reconstruct what was there (Ridzuan et al. 2022, arXiv 2201.06052).

    The encoder sees the image with its holes, a decoder makes an image of its features, and the loss compares the two
    inside the holes only. Where the paper is silent (hole sizes, loss, decoder) the choices are ours.

    Args:
        decoder: ``"Unet"``, ``"DPT"`` or ``"auto"``, see
            :class:`~monai_cxrssl.networks.reconstruction.ReconstructionDecoder`. It is thrown away after pretraining.
        hole_size: smallest and largest side of a hole, as fractions of the image's.
        norm: ``"l1"`` or ``"l2"``.
        fill: intensity in [0, 1] inside the holes.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    num_views: ClassVar[int] = 1

    def __init__(
        self,
        network: Encoder,
        decoder: str = "auto",
        holes: int = 2,
        hole_size: Sequence[float] = (0.15, 0.35),
        norm: str = "l1",
        fill: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(network, seed)
        self.decoder = ReconstructionDecoder(network, decoder, out_channels=network.in_channels)
        self.inpaint_holes = InpaintHoles(holes, hole_size, fill)
        self.loss_function = MaskedReconstructionLoss(norm)
        self.trivial = TrivialReconstruction(self.loss_function)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch, and ``trivial_loss``, see :class:`~monai_cxrssl.methods.TrivialReconstruction`.

        Args:
            batch: ``image`` ``(B, V, 1, H, W)`` float in [0, 1] and ``lung_mask`` ``(B, V, 1, H, W)``, not 0 in the
                lungs; each view is a sample of its own.

        Raises:
            ConfigurationError: there is no lung mask, or the decoder cannot make images of this size.
        """
        if "lung_mask" not in batch:
            raise ConfigurationError(
                "Inpainting needs to know where the lungs are: the batch holds no 'lung_mask'. Give the data set its "
                "lung_masks (PretextLungMasks takes the expected position where an image has no mask)."
            )
        images = batch["image"].flatten(0, 1)
        self.decoder.check_size(*images.shape[-2:])
        corrupted, holes = self.inpaint_holes(images, batch["lung_mask"].flatten(0, 1), self.generator(images.device))
        features = normalised_features(self.network, corrupted)
        loss = self.loss_function(self.decoder(features), images, holes)
        last = features[0][-1] if isinstance(features, tuple) else features[-1]
        trivial = self.trivial(images, holes)
        return {"loss": loss, "trivial_loss": trivial, "embedding": adaptive_avg_pool2d(last.detach(), 1).flatten(1)}
