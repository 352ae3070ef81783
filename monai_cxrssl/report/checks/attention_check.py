# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saliency beside lungs, image by image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from monai_cxrssl.metrics.lung_attention import (
    lung_area_fraction,
    pointing_game,
    positive_fraction_of_saliency,
    saliency_iou,
)
from monai_cxrssl.probing.saliency import attention_method, saliency_maps
from monai_cxrssl.report.checks.checked_images import CheckedImages
from monai_cxrssl.report.checks.checked_lungs import CheckedLungs
from monai_cxrssl.report.checks.network_outputs import NetworkOutputs
from monai_cxrssl.report.plots.attention_gallery import AttentionCase, choose_cases, draw_attention_gallery

__all__ = ["Decisions", "check_attention", "decide", "draw_decisions"]

_FIGURES = ("pfs", "lung_area", "pointing", "saliency_iou")
#: What the key of the gallery says of the masks.
_ORIGINS = {
    "mask": "masks of the data set",
    "model": "segmented by the model itself",
    "mask and model": "masks of the data set, else segmented by the model itself",
    None: "of no image known",
}


@dataclass(frozen=True)
class Decisions:
    """What was predicted of N images."""

    predicted: np.ndarray  #: ``(N,)`` int64, the class of the highest probability; -1 where a probability is no number.
    probability: np.ndarray  #: ``(N,)`` float64, of that class; NaN without one.
    right: np.ndarray  #: ``(N,)`` float64: 1 right, 0 wrong, NaN where the label is unknown.
    true: list[str]  #: N texts, the true class; for multi-label the classes that are present.


def decide(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Decisions:
    """Take the class of the highest probability as the decision, in multi-label tasks too.

    Args:
        scores: ``(N, C)`` probabilities; NaN where there is none.
        labels: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
    """
    finite = np.isfinite(scores).all(1)
    best = np.where(finite, np.where(finite[:, None], scores, 0).argmax(1), -1)
    rows = np.arange(len(scores))
    probability = np.where(finite, scores[rows, best], np.nan)
    if labels.ndim == 1:
        right = np.where(labels >= 0, (labels == best).astype(float), np.nan)
        true = [classes[label] if label >= 0 else "unknown" for label in labels]
    else:
        right = labels[rows, best].astype(np.float64)
        present = [[name for name, value in zip(classes, row, strict=True) if value == 1] for row in labels]
        true = [", ".join(names) or "none known" for names in present]
    return Decisions(best, probability, np.where(finite, right, np.nan), true)


def check_attention(
    outputs: NetworkOutputs, checked: CheckedImages, lungs: CheckedLungs, decisions: Decisions
) -> dict[str, np.ndarray]:
    """Measure the saliency of the predicted class against the lungs.

    Returns:
        ``pfs``, ``lung_area``, ``pointing`` and ``saliency_iou``, see :mod:`monai_cxrssl.metrics.lung_attention`, each
        ``(N,)`` float64, NaN where an image has no lungs or no prediction that is a number. Of a convolutional network
        also ``pfs_grad_cam``, that of the usual Grad-CAM on the last map, to stand beside.
    """
    fine = attention_method(outputs.network)
    usual = fine[0] == "hires_cam"
    figures = {name: np.full(len(checked), np.nan) for name in (*_FIGURES, *(["pfs_grad_cam"] * usual))}
    places = np.flatnonzero(lungs.known & (decisions.predicted >= 0))
    for chunk in checked.chunks("attention", places):
        saliency = _saliency(outputs, checked, decisions, chunk, *fine)
        mask = torch.from_numpy(np.stack([lungs.on_grid(place) for place in chunk]))
        figures["pfs"][chunk] = positive_fraction_of_saliency(saliency, mask).numpy()
        figures["lung_area"][chunk] = lung_area_fraction(mask).numpy()
        figures["pointing"][chunk] = pointing_game(saliency, mask).numpy()
        figures["saliency_iou"][chunk] = saliency_iou(saliency, mask).numpy()
        if usual:
            coarse = _saliency(outputs, checked, decisions, chunk, "grad_cam", -1)
            figures["pfs_grad_cam"][chunk] = positive_fraction_of_saliency(coarse, mask).numpy()
    return figures


def draw_decisions(
    outputs: NetworkOutputs,
    checked: CheckedImages,
    lungs: CheckedLungs,
    decisions: Decisions,
    figures: dict[str, np.ndarray],
    classes: Sequence[str],
    path: str | os.PathLike,
) -> Path | None:
    """Draw the gallery of right and wrong decisions; ``None`` where no image has a known label and a prediction."""
    right, wrong = choose_cases(decisions.probability, decisions.right, patient=np.asarray(checked.patients))
    chosen = np.concatenate([right, wrong])
    if not len(chosen):
        return None
    cases = []
    maps = _saliency(outputs, checked, decisions, chosen, *attention_method(outputs.network))
    for place, saliency in zip(chosen, maps, strict=True):
        cases.append(
            AttentionCase(
                image=checked.sample(place)["image"][0].numpy(),
                saliency=saliency[0].numpy(),
                true=decisions.true[place],
                predicted=classes[decisions.predicted[place]],
                probability=float(decisions.probability[place]),
                right=bool(decisions.right[place]),
                lung_mask=lungs.on_grid(place)[0] if lungs.known[place] else None,
                pfs=float(figures["pfs"][place]),
                area=float(figures["lung_area"][place]),
            )
        )
    return draw_attention_gallery(cases, path, _ORIGINS[lungs.origin])


def _saliency(
    outputs: NetworkOutputs, checked: CheckedImages, decisions: Decisions, places: np.ndarray, method: str, layer: int
) -> torch.Tensor:
    """Maps ``(B, 1, H, W)`` of the predicted classes, on the CPU."""
    image = torch.stack([checked.sample(place)["image"] for place in places]).to(outputs.device)
    with outputs.autocast():
        maps = saliency_maps(outputs.network, image, decisions.predicted[places].tolist(), method, layer)
    return maps.float().cpu()
