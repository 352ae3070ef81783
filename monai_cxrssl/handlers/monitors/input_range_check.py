# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One-time check of a run's input range and contrast."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.data.audit.audit import looks_inverted
from monai_cxrssl.data.sampling.replacing_loader import images_of
from monai_cxrssl.errors import CXRReadError, TrainingError

__all__ = ["InputRangeCheck"]

logger = logging.getLogger(__name__)


class InputRangeCheck:
    """Check the first batch of a run, and some of the images that it is drawn from.

    Views of one value, and images that look inverted, are told in a warning: a crop may fall on nothing but air, and
    few images of an odd projection do not make a data set wrong.

    Args:
        films: how many images to look at for inverted contrast, spread over the data set; 0 for none.
        share: warn when more than this share of views is constant, or of images looks inverted, from 0 to 1.

    Raises:
        TrainingError: from the run: pixels outside [0, 1], or not finite; views are uint8, or float in [0, 1].
    """

    def __init__(self, films: int = 64, share: float = 0.5) -> None:
        self.films = int(films)
        self.share = float(share)
        self._seen = False

    def attach(self, engine: Engine) -> None:
        """Follow an engine whose batches hold ``image``."""
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._check)

    def _check(self, engine: Any) -> None:
        if self._seen:
            return
        self._seen = True
        views = engine.state.batch["image"]
        if views.is_floating_point():  # whole numbers are raw images, whose range is their type's
            self._check_range(views)
        flat = views.flatten(0, -3).flatten(1).float()
        constant = float((flat.amin(1) == flat.amax(1)).float().mean())
        if constant > self.share:
            logger.warning(
                "%.0f%% of the views of the first batch hold one value only: are the images blank, or the crops "
                "outside the image? Look at some with `python -m monai_cxrssl show`.",
                100 * constant,
            )
        self._check_contrast(engine.state.dataloader)

    @staticmethod
    def _check_range(views: torch.Tensor) -> None:
        lowest, highest = (float(value) for value in torch.aminmax(views.float()))
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise TrainingError("The views of the first batch hold NaN or infinite values; expected numbers in [0, 1].")
        if lowest < -1e-3 or highest > 1 + 1e-3:
            raise TrainingError(
                f"The views of the first batch go from {lowest:.4g} to {highest:.4g}; expected uint8, or float in "
                "[0, 1]. Scale what the transform gives by the range of its input, or let it give uint8."
            )

    def _check_contrast(self, loader: Any) -> None:
        images = images_of(loader)
        if not self.films or images is None or not images.in_memory or not len(images):
            return
        numbers = np.unique(np.linspace(0, len(images) - 1, self.films).astype(int)).tolist()
        inverted = []
        for number in numbers:
            with contextlib.suppress(CXRReadError):  # the loader's to replace and to tell of
                if looks_inverted(images.image(number)):
                    inverted.append(number)
        if len(inverted) > self.share * len(numbers):
            logger.warning(
                "%d of %d images that were looked at seem inverted, the first %s; "
                "expected bright = dense. Look at some with `python -m monai_cxrssl show`; files without a photometric "
                "interpretation (PNG, JPEG) cannot tell it.",
                len(inverted),
                len(numbers),
                images.items[inverted[0]].get("image"),
            )
