# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Steps and epochs of fine-tuning, and the schedule over them."""

from __future__ import annotations

import pytest
import torch

from monai_cxrssl.runs import FineTuningOptions, FineTuningWiring
from monai_cxrssl.runs.recipes.length import RunLength

RECIPES = {
    name: {"encoder_name": "resnet18", "image_size": 32, "batch_size": 16, "max_epochs": 8, "min_steps": 100}
    for name in ("short", "full")
}


def options(**given) -> FineTuningOptions:
    return FineTuningOptions.resolved({"output_dir": "o", "model_path": "m", **given}, RECIPES)


@pytest.mark.parametrize(
    ("given", "images", "expected"),
    [
        # epochs, iterations of an epoch, iterations, steps, frozen, draws
        ({}, 453, (8, 28, 224, 224, 0, None)),
        ({}, 40, (20, 5, 100, 100, 0, 80)),
        ({}, 3, (20, 5, 100, 100, 0, 80)),
        ({"max_epochs": 2}, 40, (2, 2, 4, 4, 0, None)),
        ({"max_epochs": 2}, 3, (2, 1, 2, 2, 0, None)),
        ({"max_epochs": 2, "min_steps": 7}, 40, (7, 1, 7, 7, 0, 16)),
        ({"max_steps": 137}, 453, (20, 7, 137, 137, 0, 112)),
        ({"max_steps": 137}, 100_000, (20, 7, 137, 137, 0, 112)),
        ({"max_steps": 1}, 453, (1, 1, 1, 1, 0, 16)),
        ({"max_steps": 30, "accumulation_steps": 4}, 453, (15, 8, 120, 30, 0, 128)),
        ({"accumulation_steps": 3}, 453, (20, 15, 300, 100, 0, 240)),
        ({"pretrained": "w.pt"}, 453, (8, 28, 224, 224, 0, None)),
        ({"pretrained": "w.pt", "decoder": "FPN"}, 453, (8, 28, 224, 224, 44, None)),
        (
            {"pretrained": "w.pt", "decoder": "FPN", "max_steps": 31, "accumulation_steps": 2},
            453,
            (16, 4, 62, 31, 12, 64),
        ),
        ({"pretrained": "w.pt", "max_steps": 31, "linear_probe": True}, 453, (16, 2, 31, 31, 0, 32)),
    ],
)
def test_length(given, images, expected):
    length = options(**given).length(images)
    assert (
        length.epochs, length.epoch_iterations, length.iterations, length.steps, length.frozen, length.draws
    ) == expected  # fmt: skip
    assert length.iterations <= length.epochs * length.epoch_iterations
    assert (length.epochs - 1) * length.epoch_iterations < length.iterations


def test_processes_share_the_draws_not_the_steps(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    length = options(max_steps=60).length(453)
    assert (length.iterations, length.draws) == (60, 3 * 32)
    assert length.passes == pytest.approx(60 * 32 / 453)


@pytest.mark.parametrize(
    ("given", "frozen", "warmups"),
    [
        ({}, 0, [20]),
        ({"warmup_share": 0}, 0, [0]),
        ({"warmup_epochs": 2}, 0, [8]),
        ({"warmup_epochs": 1000}, 0, [100]),
        ({"linear_probe_first": 0.3}, 30, [3, 14]),
    ],
)
def test_the_heads_alone_have_a_schedule_of_their_own(given, frozen, warmups):
    """A probe before fine-tuning is no part of the warm-up: the rate rises to its peak, falls to 0 and rises anew."""
    length = RunLength.of_steps(100, 16, 64 * 100 // 16, 1, given.get("linear_probe_first", 0))
    length = RunLength.of_epochs(25, 4, 1, given.get("linear_probe_first", 0)) if "warmup_epochs" in given else length
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = FineTuningWiring(options(**given), "x").schedule(optimizer, length)
    assert length.frozen == frozen
    assert schedule.warmup_steps == warmups
    rates = [schedule._factor(step) for step in range(101)]
    if frozen:
        assert max(rates[:frozen]) == rates[3] == 1
        assert rates[frozen - 1] < 0.01
    assert max(rates[frozen:]) == pytest.approx(1)
    assert rates[100] == 0
