# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Opening log lines of a pretraining run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only named in the signature; the command line, which shares this package, must start without torch.
    from monai_cxrssl.data.datalists.datalist import Datalist
    from monai_cxrssl.data.stores.image_store import ImageStore
    from monai_cxrssl.networks.encoder import Encoder
    from monai_cxrssl.networks.multi_task import MultiTaskNet
    from monai_cxrssl.runs.options import RunOptions
    from monai_cxrssl.runs.starting_point import StartingPoint

__all__ = ["announce_data", "announce_start"]

logger = logging.getLogger(__name__)


def announce_data(source: Datalist, images: ImageStore, bags: Sequence[Sequence[int]], recipe: str) -> None:
    """Log the size of the data and the recipe that is used for it.

    Args:
        source: the data set.
        images: its images that could be read.
        bags: indices of the images of each patient.
        recipe: ``"full"`` or ``"short"``.
    """
    logger.info(
        "%s: %d images, %d patients, %d multi-image bags, %d unreadable files",
        source.name,
        len(images),
        len(bags),
        sum(len(bag) > 1 for bag in bags),
        len(images.unreadable),
    )
    if recipe == "short":
        logger.info(
            "Short recipe: a small encoder and few epochs, to see every part at work. "
            "Give --dataset_dir for the full one."
        )


def announce_start(start: StartingPoint | None, network: Encoder | MultiTaskNet, options: RunOptions) -> None:
    """Log what the encoder starts from, its form, how images are normalised before it, and who says so.

    Args:
        start: ``None`` for random weights.
        network: that has the encoder.
        options: of the run.
    """
    normalisation = network.normalise.normalisation
    origin = "of random weights" + (
        ", which want none" if str(normalisation) == "none" else ", as transformers have it"
    )
    if options.input_normalisation != "auto":
        origin = "as --input_normalisation says"
    elif start is not None:
        origin = "as these weights want it"
    logger.info(
        "The encoder starts from %s. Input normalisation: %s, %s.", start or "random weights", normalisation, origin
    )
    form = [f"pooling {network.pool.name}", *([f"positions {network.positions}"] if network.positions else [])]
    logger.info("The encoder is %s: %s, drop path %g.", network.encoder_name, ", ".join(form), _drop_path(network))


def _drop_path(network: Encoder | MultiTaskNet) -> float:
    """The share that the last block skips in training, 0 where there is no stochastic depth."""
    from timm.layers.drop import DropPath

    return max((float(m.drop_prob) for m in network.encoder.modules() if isinstance(m, DropPath)), default=0.0)
