# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of real X-rays train on few labels: a linear probe, and a short fine-tuning of fixed length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monai_cxrssl.hardware import autocast_dtype

__all__ = ["BATCH", "balanced_cross_entropy", "forward", "linear_scores", "predict_in_autocast", "train_briefly"]

#: Images of a step, where there are as many.
BATCH = 16
#: Largest learning rates of the encoder and of what is new on it.
RATES = (3e-4, 3e-3)


def predict_in_autocast(network: nn.Module, films: Tensor) -> Tensor:
    """Output of a network in float32, computed in the precision that the package takes on a CPU."""
    dtype = autocast_dtype("cpu", "auto")
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        output: Tensor = network(films.contiguous(memory_format=torch.channels_last))
    return output.float()


@torch.inference_mode()
def forward(network: nn.Module, films: Tensor) -> np.ndarray:
    """Outputs of a network in evaluation mode for images ``(N, 1, S, S)``, in float32."""
    network.eval()
    return torch.cat([predict_in_autocast(network, part) for part in films.split(64)]).numpy()


def linear_scores(features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    """Class probabilities of a logistic regression on frozen features; 0 for a class without a label."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.zeros((len(test), classes))
    if len(np.unique(labels)) > 1:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000, class_weight="balanced"))
        model.fit(features, labels)
        scores[:, model.classes_] = model.predict_proba(test)
    return scores


def balanced_cross_entropy(labels: np.ndarray, classes: int) -> nn.CrossEntropyLoss:
    """Cross-entropy in which each class that has labels weighs the same."""
    counts = np.bincount(labels, minlength=classes)
    weight = torch.tensor(np.where(counts > 0, len(labels) / np.maximum(counts, 1), 0), dtype=torch.float32)
    return nn.CrossEntropyLoss(weight / weight.sum())


def train_briefly(
    model: nn.Module,
    encoder: Iterable[nn.Parameter],
    head: Iterable[nn.Parameter],
    count: int,
    loss_of: Callable[[int, Sequence[int]], Tensor],
    steps: int,
    seed: int,
) -> None:
    """Train for a fixed number of steps of 16 images or fewer; the last weights stay, nothing is chosen.

    Args:
        model: is in training mode in each step.
        encoder: weights of the smaller learning rate.
        head: weights of the larger one.
        count: images to learn from; each is seen once before any is seen again.
        loss_of: loss of a step, given its number and the numbers of its images.
        steps: how many, with one cycle of the learning rate.
        seed: of the order of the images.
    """
    batch = min(BATCH, count)
    groups = [{"params": list(part), "lr": rate} for part, rate in zip((encoder, head), RATES, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, list(RATES), total_steps=steps, pct_start=0.2)
    generator = np.random.default_rng(seed)
    order: list[int] = []
    for step in range(steps):
        while len(order) < batch:
            order += generator.permutation(count).tolist()
        chosen, order = order[:batch], order[batch:]
        model.train()
        loss = loss_of(step, chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
