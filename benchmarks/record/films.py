# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of all tasks, decoded once, at a network's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_cxrssl.data import DecodedMasks, decoded_side, open_images
from monai_cxrssl.transforms import ResizeCXR

__all__ = ["Films"]

Item = Mapping[str, Any]


class Films:
    """Give images and lungs as tensors.

    Args:
        items: all that may be asked for.
        size: side of what networks see, in pixels.
        cache: folder of the decoded images.
    """

    def __init__(self, items: Sequence[Item], size: int, cache: Path) -> None:
        self.store = open_images(items, decoded_side(size), cache_dir=cache, progress=False)
        self.place = {item["image"]: index for index, item in enumerate(self.store.items)}
        self.size = size
        self._masks: DecodedMasks | None = None

    def resized(self, items: Sequence[Item], size: int | None = None) -> Tensor:
        """Return whole images ``(N, 1, S, S)``, float32 in [0, 1]."""
        resize = ResizeCXR(size=size or self.size)
        return torch.stack([resize(self.store.image(self.place[item["image"]])[None]) for item in items])

    def lungs(self, items: Sequence[Item]) -> Tensor:
        """Return whole lung masks ``(N, 1, S, S)``, uint8."""
        if self._masks is None:
            self._masks = DecodedMasks(self.store, "lung", num_threads=1, progress=False)
        resize, masks = ResizeCXR(size=self.size), []
        for item in items:
            index = self.place[item["image"]]
            shape = self.store.image(index).shape
            masks.append(resize.apply_mask(np.asarray(self._masks.mask(index, (int(shape[0]), int(shape[1]))))[None]))
        return torch.stack(masks)
