# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictions with a region blanked."""

from __future__ import annotations

import numpy as np
import torch

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.checks.checked_images import CheckedImages
from monai_cxrssl.report.checks.checked_lungs import CheckedLungs
from monai_cxrssl.report.checks.network_outputs import NetworkOutputs
from monai_cxrssl.transforms.corruptions.blank_region import BlankRegion

__all__ = ["check_blanking"]


def check_blanking(
    outputs: NetworkOutputs, checked: CheckedImages, lungs: CheckedLungs, region: str
) -> tuple[np.ndarray, np.ndarray]:
    """Score the images with a region blanked.

    The decoded image is blanked before it is resized, so that corners and border are those of the image, not of its
    padding, and the fill is the mean of what is image. The region is one of
    :class:`monai_cxrssl.transforms.BlankRegion`.

    Returns:
        The places ``(n,)`` int64 of the images that could be blanked, and their probabilities ``(n, C)`` float64.
        Images without lungs are left out where the region needs them, and images of which nothing would be left.
    """
    blank = BlankRegion(region)
    wanted = np.flatnonzero(lungs.known) if blank.needs_lung_mask else np.arange(len(checked))
    kept: list[int] = []
    scores: list[np.ndarray] = []
    for chunk in checked.chunks(f"{region} blanked".replace("_", " "), wanted):
        views = []
        for place in chunk.tolist():
            try:
                film = blank(checked.film(place), lungs.on_film(place) if blank.needs_lung_mask else None)
            except DatalistError:
                continue  # the lungs fill the image, so nothing would be left of it; the caller counts these
            views.append(checked.dataset.transform(film))
            kept.append(place)
        if views:
            scores.append(outputs.scores(torch.stack(views)))
    empty = np.zeros((0, 0))
    return np.asarray(kept, dtype=np.int64), np.concatenate(scores) if scores else empty
