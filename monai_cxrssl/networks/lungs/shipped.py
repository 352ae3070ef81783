# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Place of the lung segmentation weights that come with the package."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import monai_cxrssl
from monai_cxrssl.errors import ConfigurationError

__all__ = ["LUNG_WEIGHTS", "lung_weights", "own_or_shipped"]

logger = logging.getLogger(__name__)

#: Below the folder of the bundle ``lung_segmentation``.
LUNG_WEIGHTS = "weights/lungs.safetensors"


def lung_weights() -> Path:
    """Return the file of the lung segmentation weights that came with the package, in a wheel or in the repository.

    Raises:
        ConfigurationError: it is not there.
    """
    package = Path(monai_cxrssl.__file__).resolve().parent
    places = [parent / "bundles" / "lung_segmentation" / LUNG_WEIGHTS for parent in (package, package.parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigurationError(
            f"The lung segmentation weights of the package are not at {places[0]}; install the package anew, or give "
            "weights of your own."
        )
    return found


def own_or_shipped(bundle: str | os.PathLike) -> str:
    """Return the weights that a bundle has trained, else those that came with it, else where it would keep its own.

    Args:
        bundle: its folder.
    """
    own, shipped = Path(bundle) / "models" / "model.pt", Path(bundle) / LUNG_WEIGHTS
    if own.is_file() and shipped.is_file():
        logger.info("Weights: %s, trained here; --model_path %s takes those that came with the bundle.", own, shipped)
    return str(own if own.is_file() or not shipped.is_file() else shipped)
