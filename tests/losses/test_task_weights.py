# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_cxrssl.losses import TaskWeights


def test_sum_and_gradients_equal_a_float64_formula():
    weights = TaskWeights(["a", "b", "c"])
    logs, values = [0.3, -1.2, 0.0], [0.126, 4.5, 1.38]
    with torch.no_grad():
        weights.log_variance.copy_(torch.tensor(logs))
    losses = {name: torch.tensor(value, requires_grad=True) for name, value in zip("abc", values, strict=True)}
    total = weights(losses)
    assert total.item() == pytest.approx(sum(math.exp(-s) * v + s / 2 for s, v in zip(logs, values, strict=True)))
    total.backward()
    expected = [-math.exp(-s) * v + 0.5 for s, v in zip(logs, values, strict=True)]
    assert weights.log_variance.grad.tolist() == pytest.approx(expected)
    assert [losses[name].grad.item() for name in "abc"] == pytest.approx([math.exp(-s) for s in logs])


def test_constant_losses_get_the_weights_that_the_paper_derives():
    """At the minimum of exp(-s) L + s / 2 the log variance is log(2 L): a task of a large loss weighs less."""
    weights, values = TaskWeights(["a", "b"]), {"a": torch.tensor(0.1), "b": torch.tensor(5.0)}
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        weights(values).backward()
        optimizer.step()
    assert weights.log_variance.tolist() == pytest.approx([math.log(0.2), math.log(10)], abs=1e-3)
