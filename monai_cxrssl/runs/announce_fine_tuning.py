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
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions

__all__ = ["announce_fine_tuning"]

logger = logging.getLogger(__name__)


def announce_fine_tuning(
    training: FineTuningImages, validation: FineTuningImages, test: FineTuningImages | None, options: FineTuningOptions
) -> None:
    """Log the size of the splits, the images of each class, the recipe as it was resolved, and the run's length.

    Args:
        training: what is learnt from.
        validation: what the weights are chosen by.
        test: what they are measured on; None of a run that pauses before.
        options: of the run.
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
    resolved = options.resolved_recipe
    width = max(map(len, resolved))
    lines = [f"  {name:<{width}}  {value} ({origin})" for name, (value, origin) in resolved.items()]
    logger.info("Fine-tuning %s as %s:\n%s", options.encoder_name, options.family, "\n".join(lines))
    length = options.length(len(training))
    logger.info(
        "%d steps, about %.1f passes over %d images; %d epochs of %d batches, after which is validated%s.",
        length.steps, length.passes, len(training), length.epochs, length.epoch_iterations,
        f"; up to batch {length.frozen} only the heads learn" if length.frozen else "",
    )  # fmt: skip
    if options.recipe == "short":
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
