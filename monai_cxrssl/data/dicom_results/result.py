# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Prediction of one image, as DICOM results state it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from monai_cxrssl import __version__

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence

__all__ = ["Algorithm", "FilmResult"]


@dataclass(frozen=True)
class Algorithm:
    """Maker of a prediction.

    Args:
        name: of the model, up to 64 letters.
        version: of the model or, by default, of this package.
        parameters: sentences on weights, calibration and operating points.
    """

    name: str = "monai_cxrssl"
    version: str = __version__
    parameters: tuple[str, ...] = ()

    def identification(self) -> AlgorithmIdentificationSequence:
        """Return what image objects (SEG) hold of it."""
        import highdicom
        from pydicom.sr.codedict import codes

        return highdicom.AlgorithmIdentificationSequence(
            name=self.name[:64], version=self.version[:64], family=codes.DCM.ArtificialIntelligence
        )


@dataclass(frozen=True)
class FilmResult:
    """Scores, mask and saliency of one image.

    Args:
        scores: calibrated probability of each class, in [0, 1]; none of a network that only segments.
        thresholds: chosen operating points by class; a class without one has no decision.
        intervals: lower and upper probability by class, where they are known.
        mask: ``(H, W)`` bool of the image's own size, upright.
        structure: that the mask shows: ``"lung"`` or a lesion.
        saliency: ``(h, w)`` float, 0 or more, of any size, upright: the evidence for ``top``.
        warnings: what is odd about the image, as :func:`monai_cxrssl.handlers.inference.film_warnings` says it.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    mask: np.ndarray | None = None
    structure: str = "lung"
    saliency: np.ndarray | None = None
    warnings: str = ""

    @property
    def top(self) -> str:
        """Class of the highest probability."""
        return max(self.scores, key=lambda name: self.scores[name])

    @property
    def is_finite(self) -> bool:
        """Whether all probabilities are numbers."""
        return all(map(math.isfinite, self.scores.values()))

    def decision(self, name: str) -> bool | None:
        """Whether a class reaches its threshold; None where it has none."""
        return self.scores[name] >= self.thresholds[name] if name in self.thresholds else None
