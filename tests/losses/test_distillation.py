# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from scipy.stats import entropy

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses import DistillationLoss

TASKS = ["multi_class", "multi_label"]
TEMPERATURES = [0.1, 1.0, 4.0]


def logits(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.to(dtype), teacher.to(dtype)


def reference(student: np.ndarray, teacher: np.ndarray, t: float, task: str) -> float:
    if task == "multi_class":
        return float(-(softmax(teacher / t, axis=1) * log_softmax(student / t, axis=1)).sum(axis=1).mean() * t**2)
    p = expit(teacher / t)
    return float(-(p * log_expit(student / t) + (1 - p) * log_expit(-student / t)).mean() * t**2)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equals_a_float64_reference(task, temperature):
    student, teacher = logits()
    expected = reference(student.numpy(), teacher.numpy(), temperature, task)
    assert DistillationLoss(temperature, task=task)(student, teacher).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_student_equal_to_teacher_gives_the_entropy_and_no_gradient(task, temperature):
    """Check 7 of the methods."""
    teacher = logits()[1]
    student = teacher.clone().requires_grad_()
    loss = DistillationLoss(temperature, task=task)(student, teacher)
    loss.backward()
    if task == "multi_class":
        expected = entropy(softmax(teacher.numpy() / temperature, axis=1), axis=1).mean()
    else:
        p = expit(teacher.numpy() / temperature)
        expected = entropy(np.stack([p, 1 - p]), axis=0).mean()
    assert loss.item() == pytest.approx(temperature**2 * expected, rel=1e-10)
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("task", TASKS)
def test_gradient_by_float64_differences_and_none_for_the_teacher(task):
    student, teacher = (value.requires_grad_() for value in logits())
    loss = DistillationLoss(2.0, task=task)
    assert torch.autograd.gradcheck(lambda value: loss(value, teacher), (student,))
    loss(student, teacher).backward()
    assert teacher.grad is None


def test_mixing_with_labels():
    student, teacher = logits()
    alone = DistillationLoss(2.0)(student, teacher)
    supervised = torch.tensor(3.0, dtype=torch.float64)
    mixed = DistillationLoss(2.0, mixing_weight=0.25)
    assert mixed(student, teacher, supervised).item() == pytest.approx(0.25 * alone.item() + 0.75 * 3)
    assert mixed(student, teacher).item() == alone.item()


@pytest.mark.parametrize("task", TASKS)
def test_float32_under_autocast(task):
    student, teacher = logits(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = DistillationLoss(0.1, task=task)(student, teacher)
    assert loss.dtype == torch.float32
    expected = reference(student.double().numpy(), teacher.double().numpy(), 0.1, task)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0}, "temperature 0"), ({"mixing_weight": 1.5}, "weight 1.5"), ({"task": "x"}, "'x'")],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=message):
        DistillationLoss(**options)


def test_shapes_that_differ():
    with pytest.raises(ConfigurationError, match=r"\(2, 3\).*\(2, 4\)"):
        DistillationLoss()(torch.zeros(2, 3), torch.zeros(2, 4))
