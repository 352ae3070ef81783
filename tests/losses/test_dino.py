# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import DINOLoss


def reference(student, teacher, centre, temperature, teacher_temperature):
    """The pairs one by one, in float64."""
    pairs = []
    for g, told in enumerate(teacher):
        for v, said in enumerate(student):
            if v != g:
                share = softmax((told - centre) / teacher_temperature, axis=1)
                pairs.append(-(share * log_softmax(said / temperature, axis=1)).sum(1).mean())
    return np.mean(pairs)


@pytest.mark.parametrize("views", [2, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_is_that_of_the_pairs(views, dtype):
    generator = torch.Generator().manual_seed(views)
    student = torch.rand(views, 5, 11, generator=generator, dtype=dtype) * 2 - 1
    teacher = torch.rand(2, 5, 11, generator=generator, dtype=dtype) * 2 - 1
    centre = torch.rand(11, generator=generator, dtype=dtype)
    loss = DINOLoss(0.1)(student, teacher, centre, 0.04)
    expected = reference(*(value.double().numpy() for value in (student, teacher, centre)), 0.1, 0.04)
    assert loss.item() == pytest.approx(expected, rel=1e-5 if dtype is torch.float32 else 1e-12)


def test_the_teacher_gets_no_gradient_and_half_precision_stays_finite():
    student, teacher = (torch.rand(2, 4, 64, dtype=torch.bfloat16).requires_grad_() for _ in range(2))
    loss = DINOLoss()(student, teacher, torch.zeros(64), 0.01)
    loss.backward()
    assert loss.dtype is torch.float32
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None


def test_a_temperature_of_zero():
    with pytest.raises(ConfigurationError, match="must be greater than 0, got 0"):
        DINOLoss(0)
