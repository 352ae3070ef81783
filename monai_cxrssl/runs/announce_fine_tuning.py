# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Opening log lines of a fine-tuning run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    # Only named in the signature; the command line, which shares this package, must start without torch.
    from monai_cxrssl.data.sampling.fine_tuning import FineTuningImages

__all__ = ["announce_fine_tuning"]

logger = logging.getLogger(__name__)


def announce_fine_tuning(
    training: FineTuningImages, validation: FineTuningImages, test: FineTuningImages | None, recipe: str
) -> None:
    """Log the size of the splits, the images of each class, and the recipe.

    Args:
        training: what is learnt from.
        validation: what the weights are chosen by.
        test: what they are measured on; None of a run that pauses before.
        recipe: ``"full"`` or ``"short"``.
    """
    parts = {"training": training, "validation": validation} | ({} if test is None else {"test": test})
    rows = {
        "images": [len(part) for part in parts.values()],
        "patients": [len(np.unique(part.patients)) for part in parts.values()],
        "with a label": [int(_known(part).sum()) for part in parts.values()],
        "with a mask": [int(part.has_mask.sum()) for part in parts.values()],
    }
    for number, name in enumerate(training.classes):
        rows[name] = [_positive(part, number) for part in parts.values()]
    width = max(map(len, rows))
    lines = [f"  {'':<{width}}  " + "  ".join(f"{name:>10}" for name in parts)]
    for name, row in rows.items():
        lines.append(f"  {name:<{width}}  " + "  ".join(f"{value:>10}" for value in row))
    logger.info("Data, with the images that show each class:\n%s", "\n".join(lines))
    unreadable = sum(len(part.images.unreadable) for part in parts.values())
    if unreadable:
        logger.info("%d files could not be read and are left out.", unreadable)
    if recipe == "short":
        logger.info(
            "Short recipe: a small encoder and few epochs, to see every part at work. "
            "Give --dataset_dir for the full one."
        )


def _known(part: FineTuningImages) -> np.ndarray:
    """Which samples have a label, ``(samples,)`` bool."""
    return np.asarray(part.labels >= 0 if part.labels.ndim == 1 else ~np.isnan(part.labels).all(1))


def _positive(part: FineTuningImages, number: int) -> int:
    """How many samples show a class."""
    shown = part.labels == number if part.labels.ndim == 1 else part.labels[:, number] > 0.5
    return int(shown.sum())
