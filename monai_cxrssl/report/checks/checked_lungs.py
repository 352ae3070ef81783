# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks of the checked images."""

from __future__ import annotations

import logging

import numpy as np

from monai_cxrssl.data.stores.decoded_masks import MASK_FIELDS, DecodedMasks
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.checks.checked_images import CheckedImages, ImageSubset
from monai_cxrssl.report.checks.network_outputs import NetworkOutputs
from monai_cxrssl.transforms.io.predictions import RestoreMask

__all__ = ["CheckedLungs", "drawn_masks"]

logger = logging.getLogger(__name__)


def drawn_masks(outputs: NetworkOutputs, checked: CheckedImages) -> np.ndarray | None:
    """Return what the network marks at a probability above 0.5, ``(N, H, W)`` bool; None unless it draws one mask."""
    planes = []
    if getattr(outputs.network, "segmentation_head", None) is None:
        return None
    for _, image in checked.batches("segmentation"):
        masks = outputs.masks(image)
        if masks.shape[1] != 1:
            return None
        planes.append(masks[:, 0])
    return np.concatenate(planes)


class CheckedLungs:
    """The lungs of each image: of its ``lung_mask`` where it has one, else drawn by the network, else none.

    Args:
        drawn: masks of the network (:func:`drawn_masks`); lungs only where the data set's masks, which it learned, are.

    Attributes:
        from_model: ``(N,)`` float64: 0 for a mask of the data set, 1 for one of the network, NaN for none.
        reason: why images lack lungs, in words; empty when none does.
    """

    def __init__(self, checked: CheckedImages, drawn: np.ndarray | None) -> None:
        self._checked = checked
        masks, problem = _read_masks(checked)
        self._masks = masks
        own = checked.dataset.masks
        self._shared = masks is not None and masks is own
        learned = own is not None and own.kind == "lung"
        self._drawn = drawn if learned else None
        self.from_model = np.full(len(checked), np.nan)
        for place in range(len(checked)):
            if masks is not None and masks.has_mask[self._number(place)] and self._file_on_grid(place).any():
                self.from_model[place] = 0
            elif self._drawn is not None and self._drawn[place].any() and self.on_film(place, own=True).any():
                self.from_model[place] = 1
        absent = int(np.isnan(self.from_model).sum())
        told = problem or "the data set has no lung mask of them"
        network = "the network found no lungs in them" if self._drawn is not None else "the network segments no lungs"
        self.reason = f"{absent} of {len(checked)} images have no lung mask: {told}, and {network}" if absent else ""

    @property
    def origin(self) -> str | None:
        """Where the masks come from: ``"mask"``, ``"model"``, ``"mask and model"``, or ``None`` without any."""
        found = [name for value, name in ((0, "mask"), (1, "model")) if (self.from_model == value).any()]
        return " and ".join(found) or None

    @property
    def known(self) -> np.ndarray:
        """``(N,)`` bool: whether the lungs are known."""
        return ~np.isnan(self.from_model)

    def on_grid(self, place: int) -> np.ndarray:
        """Return the lungs on the grid of the network's images: ``(1, H, W)`` uint8, all 0 where not known."""
        if self.from_model[place] == 0:
            return self._file_on_grid(place)
        if self.from_model[place] == 1 and self._drawn is not None:
            return self._drawn[place][None].astype(np.uint8)
        return np.zeros((1, *self._checked.dataset.transform.size), np.uint8)

    def on_film(self, place: int, own: bool = False) -> np.ndarray:
        """Return the lungs on the grid of the decoded image, ``(1, h, w)`` uint8; ``own``: those that it drew."""
        shape = self._checked.film(place).shape[1:]
        if self._drawn is not None and (own or self.from_model[place] == 1):
            plane = self._drawn[place][None].astype(np.float32)
            return RestoreMask(self._checked.dataset.transform)(plane, shape).numpy()
        if self._masks is None:
            return np.zeros((1, *shape), np.uint8)
        return self._masks.mask(self._number(place), shape)[None]

    def _number(self, place: int) -> int:
        """Number of an image among the masks: those of the data set, or those read for the checked images only."""
        return int(self._checked.numbers[place]) if self._shared else place

    def _file_on_grid(self, place: int) -> np.ndarray:
        assert self._masks is not None
        shape = self._checked.film(place).shape[1:]
        mask = self._masks.mask(self._number(place), shape)[None]
        return self._checked.dataset.transform.apply_mask(mask).numpy()


def _read_masks(checked: CheckedImages) -> tuple[DecodedMasks | None, str]:
    """The lung masks of the data set, or ``None`` and why there are none."""
    own = checked.dataset.masks
    if own is not None and own.kind == "lung":
        return own, ""
    if all(item.get(MASK_FIELDS["lung"]) is None for item in checked.items):
        return None, ""
    try:
        return DecodedMasks(ImageSubset(checked), "lung", progress=checked.progress), ""
    except DatalistError as error:
        # Training did without these masks, so they are no reason to lose the rest of the report.
        logger.warning("The lung masks of the data set are not used by the checks: %s", error)
        return None, f"those of the data set cannot be used ({error})"
