# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import InfoNCELoss


def reference(query, key, queue, temperature, query_group=None, queue_group=None, valid=None) -> float:
    """InfoNCE term by term in float64: arXiv 1911.05722, equation 1."""
    q, k, n = (np.asarray(value, dtype=np.float64) for value in (query, key, queue))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(q)):
        terms = [q[i] @ k[i] / temperature]
        for j in range(n.shape[1]):
            same = query_group is not None and query_group[i] == queue_group[j]
            if not same and (valid is None or valid[j]):
                terms.append(q[i] @ n[:, j] / temperature)
        highest = max(terms)
        total += highest + np.log(sum(np.exp(term - highest) for term in terms)) - terms[0]
    return total / len(q)


def inputs(batch: int = 6, length: int = 8, entries: int = 10):
    generator = torch.Generator().manual_seed(batch + entries)
    query, key = (torch.randn(batch, length, generator=generator) for _ in range(2))
    queue = F.normalize(torch.randn(length, entries, generator=generator), dim=0)
    groups = [torch.randint(0, 4, (size,), generator=generator) for size in (batch, entries)]
    return query, key, queue, groups, torch.rand(entries, generator=generator) > 0.3


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("batch", "entries", "temperature"), [(6, 10, 1.0), (16, 7, 0.2), (3, 40, 0.05), (4, 0, 0.2)])
def test_equals_float64_reference(batch, entries, temperature, grouped, masked):
    query, key, queue, groups, valid = inputs(batch, 8, entries)
    options = {"query_group": groups[0], "queue_group": groups[1]} if grouped else {}
    options |= {"valid": valid} if masked else {}
    expected = reference(query, key, queue, temperature, **options)
    assert InfoNCELoss(temperature)(query, key, queue, **options).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_gradient_reaches_the_query_only_and_is_finite():
    query, key, queue, _, _ = inputs()
    for value in (query, key, queue):
        value.requires_grad_()
    # No negative is left for the first query.
    InfoNCELoss()(query, key, queue, torch.tensor([0, 1, 1, 1, 1, 1]), torch.zeros(10)).backward()
    assert key.grad is None
    assert queue.grad is None
    assert torch.isfinite(query.grad).all()
    assert query.grad[0].abs().max() == 0
    assert query.grad[1].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_under_autocast(dtype):
    query, key, queue, _, _ = inputs(32, 16, 64)
    query, key = query.to(dtype), key.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = InfoNCELoss(0.05)(query, key, queue)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(reference(query.float(), key.float(), queue, 0.05), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"key": torch.zeros(5, 8)}, "keys"), ({"queue": torch.zeros(7, 10)}, "a queue"),
     ({"query_group": torch.zeros(6)}, "of neither"), ({"valid": torch.ones(9, dtype=torch.bool)}, "10 values in valid"),
     ({"query_group": torch.zeros(5), "queue_group": torch.zeros(10)}, "6 values in query_group")],
)  # fmt: skip
def test_refuses_shapes_that_do_not_match(changes, message):
    query, key, queue, _, _ = inputs()
    with pytest.raises(ValueError, match=message):
        InfoNCELoss()(**{"query": query, "key": key, "queue": queue, **changes})


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_refuses_temperature(temperature):
    with pytest.raises(ConfigurationError, match="greater than 0"):
        InfoNCELoss(temperature)
