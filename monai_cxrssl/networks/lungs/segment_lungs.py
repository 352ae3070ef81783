# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks of images by a trained segmentation network."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple_rep

from monai_cxrssl.data.audit.lung_doubts import lung_doubts
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.lungs.shipped import lung_weights
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.networks.trained import load_trained_network
from monai_cxrssl.transforms.io.predictions import RestoreMask
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["SegmentLungs", "SegmentLungsd"]


class SegmentLungs(Transform):
    """Mark the lungs of a frontal chest image.

    Args:
        weights: of a network that segments lungs, as ``bundles/lung_segmentation`` trains it; by default those that
            come with the package (``bundles/lung_segmentation/docs/weights.md`` says what they are).
        device: that the network runs on.

    Raises:
        ConfigurationError: the weights are not there, cannot be read, or segment no lungs.

    Example:
        >>> from monai_cxrssl.transforms import LoadCXR
        >>> lungs = SegmentLungs()(LoadCXR()("film.dcm"))  # doctest: +SKIP
    """

    def __init__(self, weights: str | os.PathLike | None = None, device: torch.device | str = "cpu") -> None:
        self.path = lung_weights() if weights is None else Path(weights)
        self.network, settings = load_trained_network(self.path)
        if settings["mask"] != "lung" or settings["mask_channels"] != 1:
            raise ConfigurationError(f"{self.path} segments no lungs; give weights of bundles/lung_segmentation.")
        self.device = torch.device(device)
        self.network.to(self.device)
        self.resize = ResizeCXR(settings["image_size"])
        self.head = PredictionHead(settings["task"], settings["classes"])
        self.restore = RestoreMask(self.resize, self.head.mask_threshold)

    def probabilities(self, images: Sequence[Any]) -> torch.Tensor:
        """Return how likely each pixel is lung, on the network's grid: float32 ``(B, 1, h, w)`` on the CPU.

        Args:
            images: ``(1, H, W)`` each, bright = dense: uint8 or uint16 of full range, or floating point in [0, 1].
        """
        batch = torch.stack([torch.as_tensor(self.resize(image)) for image in images])
        with torch.inference_mode():
            return self.head.predict(self.network(batch.to(self.device)))["mask"]

    def on_image(self, probability: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Bring one of :meth:`probabilities`, ``(1, h, w)``, onto an image of this height and width: uint8 of 0 and 1,
        ``(1, H, W)``."""
        return self.restore(probability, tuple(shape))

    def doubts(self, probability: torch.Tensor, shape: Sequence[int]) -> list[str]:
        """Say what speaks against a mask, see :func:`monai_cxrssl.data.audit.lung_doubts.lung_doubts`.

        Args:
            probability: one of :meth:`probabilities`, ``(1, h, w)``.
            shape: height and width of its image.
        """
        factor = min(1.0, max(self.resize.size) / max(shape))
        small = tuple(max(1, round(side * factor)) for side in shape)
        return lung_doubts(self.resize.invert(probability, small)[0].numpy())

    def __call__(self, image: Any) -> torch.Tensor:
        """Return the lungs of one image ``(1, H, W)``: uint8 ``(1, H, W)`` of 0 and 1; of a ``MetaTensor`` one too."""
        mask = self.on_image(self.probabilities([image])[0], image.shape[1:])
        return MetaTensor(mask, meta=dict(image.meta)) if isinstance(image, MetaTensor) else mask


class SegmentLungsd(MapTransform):
    """Dictionary form of :class:`SegmentLungs`, for items that have no lung mask of their own.

    Args:
        keys: items with an image ``(1, H, W)``.
        mask_keys: where the masks go, such as what :class:`~monai_cxrssl.transforms.CropToLungsd` reads; a mask that
            is there already stays.
        weights, device: as of ``SegmentLungs``.
        allow_missing_keys: pass over images that an item lacks.

    ``<mask_key>_by`` says what made a mask: the name of the weights.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        mask_keys: KeysCollection = "lung_mask",
        weights: str | os.PathLike | None = None,
        device: torch.device | str = "cpu",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple_rep(mask_keys, len(self.keys))
        self.segment = SegmentLungs(weights, device)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the masks that are missing. KeyError: an image is missing; others as of :class:`ResizeCXR`."""
        result = dict(data)
        for key, mask_key in self.key_iterator(result, self.mask_keys):
            if result.get(mask_key) is None:
                result[mask_key] = self.segment(result[key])
                result[f"{mask_key}_by"] = self.segment.path.name
        return result
