# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A label head that begins as a logistic regression on frozen features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.probing.embedding import embed
from monai_cxrssl.probing.linear_probe import classifier

__all__ = ["fit_label_head", "linear_layer"]

#: Of the features' root mean square deviation: what is added to that of each before it is divided by.
_LEAST = 0.1


def fit_label_head(
    network: MultiTaskNet,
    dataset: Dataset,
    labels: np.ndarray,
    task: str,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    num_workers: int = 0,
    amp: str | bool = "auto",
    progress: bool | str = "fitting the label head",
) -> list[int]:
    """Make the last layer of a label head the logistic regression on what the frozen network gives it.

    The probe of linear probing then fine-tuning (LP-FT: Kumar et al. 2022, arXiv 2202.10054, section 3), fitted to its
    optimum where gradient steps on a few hundred images stop short of it. The standardisation of the features, by their
    deviation and a tenth of that of all, is folded into the layer. Nothing is drawn at random.

    Args:
        network: whose label head is changed, and with it ``head_is_fitted``; its mode and all other weights stay.
        dataset: yields ``image`` ``(1, H, W)``, uint8 or float in [0, 1], as validation has it, in the order of labels.
        labels: ``(N,)`` class numbers with -1 = unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
        task: ``"multi_class"`` or ``"multi_label"``.
        device, batch_size, num_workers, amp, progress: of the pass over the images, see :func:`embed`.

    Returns:
        Numbers of the classes that were fitted. Others have too few labels: a finding, or a single class, keeps its
        random start, and an absent class gets a constant below all that are there.

    Raises:
        ConfigurationError: a network without a label head.
    """
    if network.classification_head is None:
        raise ConfigurationError("This network has no label head that a logistic regression could be put into.")
    linear: Any = network.classification_head[-1]  # type: ignore[index]
    known = labels >= 0 if task == "multi_class" else ~np.isnan(labels).all(axis=1)
    if not known.any():
        return []
    rows = np.flatnonzero(known)
    part = torch.utils.data.Subset(dataset, rows.tolist())
    features = embed(_HeadInput(network), part, device, batch_size, num_workers, amp=amp, progress=progress)
    weight, bias = (value.detach().double().cpu().numpy().copy() for value in (linear.weight, linear.bias))
    fitted = (_multi_class if task == "multi_class" else _multi_label)(features, labels[rows], weight, bias)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    network.head_is_fitted = bool(fitted)
    return fitted


def linear_layer(features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression and return it as a layer on the features as they are.

    Args:
        features: ``(N, D)``.
        target: ``(N,)`` of two or more different numbers.

    Returns:
        Weights ``(C, D)`` and biases ``(C,)`` in the order of the sorted numbers; of two numbers, those of the larger
        one's log odds, one row.
    """
    features = features.astype(np.float64)
    mean, deviation = features.mean(0), features.std(0)
    # Without a least deviation, what hardly varied would weigh most of all once the encoder begins to learn.
    scale = np.hypot(deviation, _LEAST * math.sqrt(float(np.mean(deviation**2))) or 1.0)
    regression = classifier("linear", balanced=False)[-1].fit((features - mean) / scale, target)
    weight = regression.coef_ / scale
    return weight, regression.intercept_ - weight @ mean


def _multi_class(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> list[int]:
    """Fill the rows of a softmax over classes."""
    present = np.unique(labels)
    if len(present) < 2:
        return []
    rows, offsets = linear_layer(features, labels)
    if len(present) == 2:
        # The softmax of two classes is the logistic function of the difference.
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight[:], bias[:] = 0, offsets.min() - math.log(len(labels))
    weight[present], bias[present] = rows, offsets
    return present.tolist()


def _multi_label(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> list[int]:
    """Fill the row of each finding that has both values."""
    fitted = []
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column])
        target = labels[known, column] > 0.5
        if len(np.unique(target)) == 2:
            (weight[column],), (bias[column],) = linear_layer(features[known], target)
            fitted.append(column)
    return fitted


class _HeadInput(nn.Module):
    """What the last layer of a network's label head is given, ``(B, D)``."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.head = network.classification_head

    def forward(self, image: Tensor) -> Tensor:
        """Return it for images ``(B, 1, H, W)``."""
        given: list[Tensor] = []
        hook = self.head[-1].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            self.network(image)
        finally:
            hook.remove()
        return given[0]
