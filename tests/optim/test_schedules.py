# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.optim import StagedWarmupCosine, scaled_learning_rate


def rates(stage_epochs, steps_per_epoch, warmup_epochs, lr=2.0):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = StagedWarmupCosine(optimizer, stage_epochs, steps_per_epoch, warmup_epochs)
    seen = []
    for _ in range(sum(stage_epochs) * steps_per_epoch):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_each_stage_warms_up_and_decays():
    seen = rates([20, 10], 3, 2)
    for start, length, warmup in ((0, 60, 6), (60, 30, 3)):
        part = seen[start : start + length]
        expected = [2.0 * (step + 1) / warmup for step in range(warmup)]
        expected += [math.cos(math.pi * step / (length - warmup)) + 1 for step in range(length - warmup)]
        assert part == pytest.approx(expected)


@pytest.mark.parametrize(("epochs", "warmup", "steps"), [(100, 10, 100), (50, 10, 50), (4, 10, 4), (4, 0, 0)])
def test_warmup_takes_at_most_a_tenth(epochs, warmup, steps):
    seen = rates([epochs], 10, warmup)
    assert seen.index(max(seen)) == max(steps - 1, 0)


def test_empty_stages_are_left_out():
    assert rates([5, 0], 2, 0) == pytest.approx(rates([5], 2, 0))
    with pytest.raises(ConfigurationError, match="at least one epoch"):
        rates([0, 0], 2, 0)


def test_resumed_schedule_goes_on():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = StagedWarmupCosine(optimizer, [4], 5, 1)
    for _ in range(7):
        optimizer.step()
        scheduler.step()
    again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    resumed = StagedWarmupCosine(again, [4], 5, 1)
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(5):
        assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        for one, schedule in ((optimizer, scheduler), (again, resumed)):
            one.step()
            schedule.step()


@pytest.mark.parametrize(("rule", "expected"), [("sqrt", 0.075 * 16), ("linear", 0.075), ("none", 0.075)])
def test_learning_rate_scales_with_the_batch(rule, expected):
    assert scaled_learning_rate(0.075, 256, rule) == pytest.approx(expected)


def test_unknown_rule():
    with pytest.raises(ConfigurationError, match="'sqrt', 'linear' or 'none'"):
        scaled_learning_rate(1.0, 8, "cubic")


def test_stages_of_their_own_warmup_and_peak():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = StagedWarmupCosine(optimizer, [10, 0, 20], 1, [2, 50], factors=[1.0, 9.0, 0.25])
    assert schedule.warmup_steps == [2, 20]
    seen = [2.0 * schedule._factor(step) for step in range(31)]
    assert seen[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert seen[10:30] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert seen[30] == 0
