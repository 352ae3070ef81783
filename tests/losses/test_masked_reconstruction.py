# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import MaskedReconstructionLoss


def sample(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(3, channels, 8, 6, generator=generator) for _ in range(2))
    mask = torch.rand(3, 1, 8, 6, generator=generator) < 0.4
    mask[2] = False
    return prediction, target, mask


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_equals_float64_reference(norm, power, channels, kind):
    prediction, target, mask = sample(channels)
    error = np.abs(prediction.double().numpy() - target.double().numpy()) ** power
    expected = error[np.broadcast_to(mask.numpy(), error.shape)].mean()
    loss = MaskedReconstructionLoss(norm)
    assert loss(prediction, target, mask.to(kind)).item() == pytest.approx(expected, rel=1e-6)
    assert loss(prediction, target, mask.expand_as(target)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gradient_is_zero_outside_and_right_inside(norm):
    """Check 4 of the methods."""
    prediction, target, mask = sample()
    prediction.requires_grad_()
    MaskedReconstructionLoss(norm)(prediction, target, mask).backward()
    difference = (prediction - target).detach()
    inside = difference.sign() if norm == "l1" else 2 * difference
    torch.testing.assert_close(prediction.grad, torch.where(mask, inside / mask.sum(), 0.0))
    assert prediction.grad[~mask].eq(0).all()
    assert prediction.grad[mask].ne(0).all()


def test_what_lies_outside_cannot_harm():
    prediction, target, mask = sample()
    expected = MaskedReconstructionLoss()(prediction, target, mask)
    broken = prediction.masked_fill(~mask, torch.nan).requires_grad_()
    loss = MaskedReconstructionLoss()(broken, target.masked_fill(~mask, torch.inf), mask)
    loss.backward()
    assert loss.item() == expected.item()
    assert broken.grad.isfinite().all()


def test_an_empty_mask_gives_zero_with_a_graph():
    prediction, target, mask = sample()
    prediction.requires_grad_()
    loss = MaskedReconstructionLoss()(prediction, target, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad.eq(0).all()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_float32_under_autocast(kind):
    prediction, target, mask = sample()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MaskedReconstructionLoss("l2")(prediction.to(kind), target, mask)
    assert loss.dtype == torch.float32
    expected = MaskedReconstructionLoss("l2")(prediction.to(kind).float(), target, mask)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("target", "mask"), [((3, 1, 8, 5), (3, 1, 8, 6)), ((3, 1, 8, 6), (3, 8, 6)), ((3, 1, 8, 6), (1, 1, 8, 6))]
)
def test_shapes_that_do_not_fit(target, mask):
    with pytest.raises(ConfigurationError, match="masked reconstruction loss got"):
        MaskedReconstructionLoss()(torch.zeros(3, 1, 8, 6), torch.zeros(target), torch.zeros(mask))


def test_unknown_norm():
    with pytest.raises(ConfigurationError, match="'l3'"):
        MaskedReconstructionLoss("l3")
