# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung attention: saliency inside the lungs against chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_tensor
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, bootstrap_mean

__all__ = [
    *("LungAttention", "attention_above_chance", "lung_area_fraction", "pointing_game"),
    *("positive_fraction_of_saliency", "saliency_iou"),
]


def positive_fraction_of_saliency(saliency: Any, lung_mask: Any) -> Any:
    """Return the share of a map's saliency that lies on the lungs, ``sum(S x M) / sum(S)``, of each image.

    Chance is not 0.5 but the share of the image that is lung, :func:`lung_area_fraction`: that is the figure of a
    constant map. Always show both.

    Args:
        saliency: ``(B, 1, H, W)``, tensor or array, 0 or more; of Grad-CAM, say.
        lung_mask: ``(B, 1, H, W)``, bool or numbers; lung is what is not 0.

    Returns:
        ``(B,)`` float64 in [0, 1], an array where ``saliency`` is one. NaN where there is no answer: no pixel is lung,
        the map is 0 everywhere, or it holds a number that is not finite.

    Raises:
        DatalistError: the shapes differ, or the map has negative values (which clipping would hide).

    Example:
        >>> positive_fraction_of_saliency(torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([[[[1, 0]]]]))
        tensor([0.7500], dtype=torch.float64)
    """
    values, lung = _planes(saliency, lung_mask)
    # By the maximum first: sums of very large or very small maps stay in range.
    shares = values / values.amax(1, keepdim=True)
    return _answer((shares * lung).sum(1) / shares.sum(1), lung.any(1), saliency)


def lung_area_fraction(lung_mask: Any) -> Any:
    """Return the share of the pixels that are lung, the chance level of the figures here, of each image.

    Args:
        lung_mask: ``(B, 1, H, W)``, tensor or array, bool or numbers; lung is what is not 0.

    Returns:
        ``(B,)`` float64 in (0, 1], an array where the mask is one; NaN for a mask without lung.

    Raises:
        DatalistError: another shape.
    """
    lung = _lung(lung_mask)
    return _answer(lung.double().mean(1), lung.any(1), lung_mask)


def pointing_game(saliency: Any, lung_mask: Any) -> Any:
    """Return whether the maximum of each map lies on the lungs (Zhang et al. 2016, arXiv 1608.00507).

    Arguments and errors are those of :func:`positive_fraction_of_saliency`.

    Returns:
        ``(B,)`` float64, an array where ``saliency`` is one: 1 or 0; where several pixels share the maximum, the share
        of them that is lung. NaN where no pixel is lung, and for a map that is constant or not finite: it has no
        maximum.
    """
    values, lung = _planes(saliency, lung_mask)
    highest = values == values.amax(1, keepdim=True)
    share = (highest & lung).sum(1).double() / highest.sum(1)
    return _answer(share, lung.any(1) & _varies(values), saliency)


def saliency_iou(saliency: Any, mask: Any, quantile: float = 0.8) -> Any:
    """Return the intersection over union of a mask and the most salient pixels of each map.

    The most salient are the pixels above the quantile of the map; where a plateau at the top is larger than that, the
    plateau. The share is fixed, not the height: maps of different networks are compared on an equal area.

    Args:
        mask: ``(B, 1, H, W)`` of the lungs, or of a lesion; what is not 0 belongs to it.
        quantile: share of the pixels that lies below, in (0, 1).

    Returns:
        ``(B,)`` float64 in [0, 1], an array where ``saliency`` is one. NaN for an empty mask, and for a map that is
        constant or not finite.

    Raises:
        ConfigurationError: a quantile out of range.
        DatalistError: the shapes differ, or the map has negative values.
    """
    if not 0 < quantile < 1:
        raise ConfigurationError(f"quantile is {quantile!r}; give the share of pixels below it, between 0 and 1.")
    values, marked = _planes(saliency, mask)
    # torch.quantile refuses the maps of a few hundred images at once.
    threshold = values.kthvalue(min(max(1, int(np.ceil(quantile * values.shape[1]))), values.shape[1]), dim=1).values
    highest = values.amax(1)
    salient = (values > threshold[:, None]) | ((threshold == highest)[:, None] & (values == highest[:, None]))
    overlap = (salient & marked).sum(1).double() / (salient | marked).sum(1)
    return _answer(overlap, marked.any(1) & _varies(values), saliency)


@dataclass(frozen=True)
class LungAttention:
    """Mean attention on the lungs beside chance."""

    pfs: float  #: mean positive fraction of saliency over the images that have one; NaN without any.
    area: float  #: mean lung-area fraction of the same images.
    difference: Interval  #: mean of ``pfs - area``, with its interval over patients; NaN where not assessable.
    images: int  #: number of images with a figure.
    patients: int  #: their patients.
    above_chance: bool | None  #: whether the interval lies above 0; ``None`` where that cannot be assessed.
    text: str  #: the verdict in words.


def attention_above_chance(
    pfs: Any, area: Any, patient: Any, min_patients: int = 6, plan: ResamplingPlan = DEFAULT_PLAN
) -> LungAttention:
    """Compare attention on the lungs with chance, image by image, and say in words what that shows.

    Args:
        pfs: ``(N,)``, see :func:`positive_fraction_of_saliency`; NaN images do not count.
        area: ``(N,)``, see :func:`lung_area_fraction`.
        patient: ``(N,)``, one id per image.
        min_patients: fewer cannot be assessed. Six is the least number at which all patients on one side of chance are
            rarer than 5 % when there is nothing to find (a two-sided sign test: 2 / 2^6).

    Raises:
        DatalistError: the lengths differ.
    """
    of_saliency, of_area = (np.asarray(values, dtype=np.float64) for values in (pfs, area))
    ids = np.asarray(patient)
    if of_saliency.ndim != 1 or not of_saliency.shape == of_area.shape == ids.shape:
        raise DatalistError(
            f"There are {of_saliency.shape} figures, {of_area.shape} lung areas and {ids.shape} patient ids; expected "
            "one of each per image."
        )
    known = np.isfinite(of_saliency) & np.isfinite(of_area)
    images, patients = int(known.sum()), len(np.unique(ids[known]))
    share, chance = (float(values[known].mean()) if images else float("nan") for values in (of_saliency, of_area))
    if not images or patients < max(2, min_patients):
        found = f"only {patients} patients have one" if images else "no image has one"
        nothing = Interval(share - chance, float("nan"), float("nan"), 0)
        text = (
            f"Not assessable: {found}, where attention on the lungs takes a lung mask and a saliency map that is not "
            f"0 everywhere, of {max(2, min_patients)} patients or more."
        )
        return LungAttention(share, chance, nothing, images, patients, None, text)
    interval = bootstrap_mean(of_saliency[known] - of_area[known], ids[known], "pfs - area", plan, (-1, 1))
    if interval.ci_low > 0:
        above, verdict = True, "Attention in the lungs is above chance"
    elif interval.ci_high < 0:
        above, verdict = False, "Attention in the lungs is not above chance, it is below: the model looks elsewhere"
    else:
        above, verdict = False, "Attention in the lungs is not above chance"
    text = (
        f"{verdict}: {share:.0%} of the saliency lies on the lungs, which cover {chance:.0%} of the image "
        f"(difference {100 * interval.value:+.1f} points, {plan.confidence:.0%} interval {100 * interval.ci_low:+.1f} "
        f"to {100 * interval.ci_high:+.1f}, {images} images of {patients} patients)."
    )
    return LungAttention(share, chance, interval, images, patients, above, text)


def _lung(mask: Any) -> Tensor:
    """Bool ``(B, H x W)``."""
    plane: Tensor = convert_to_tensor(mask, track_meta=False)
    if plane.ndim != 4 or plane.shape[1] != 1:
        raise DatalistError(f"The masks have shape {tuple(plane.shape)}; expected (B, 1, H, W).")
    return (plane != 0).flatten(1)


def _planes(saliency: Any, mask: Any) -> tuple[Tensor, Tensor]:
    """Float64 saliency and bool mask, ``(B, H x W)``; a map that is not finite turns into NaN as a whole."""
    values: Tensor = convert_to_tensor(saliency, track_meta=False).detach()
    marked: Tensor = _lung(mask)
    if values.ndim != 4 or tuple(values.shape) != tuple(np.shape(mask)):
        raise DatalistError(
            f"The saliency maps have shape {tuple(values.shape)} and the masks {tuple(np.shape(mask))}; expected "
            "(B, 1, H, W) twice."
        )
    values = values.double().flatten(1)
    if bool((values < 0).any()):
        raise DatalistError(
            f"A saliency map goes down to {float(values.nan_to_num().min()):.3g}; shares of saliency need values of 0 "
            "or more. Apply the map's own rule for negative evidence (ReLU for Grad-CAM) first."
        )
    values = torch.where(values.isfinite().all(1, keepdim=True), values, torch.nan)
    return values, marked.to(values.device)


def _varies(values: Tensor) -> Tensor:
    return values.amax(1) > values.amin(1)


def _answer(figure: Tensor, known: Tensor, like: Any) -> Any:
    figure = torch.where(known, figure, torch.nan)
    return figure if isinstance(like, Tensor) else figure.cpu().numpy()
