# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import EMACopy, momentum_at


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    layers.register_buffer("mask", torch.tensor([0.0, -torch.inf]), persistent=False)
    return layers


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.996, 0.999, 1.0])
def test_equals_a_float64_average(momentum):
    source = network()
    twin = EMACopy(source, momentum)
    expected = {name: value.double() for name, value in twin.network.state_dict().items()}
    for step in range(20):
        source(torch.randn(6, 1, 8, 8))  # moves the statistics of batch normalisation
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(torch.randn_like(parameter))
        twin.update(source)
        for name, value in source.state_dict().items():
            expected[name] = momentum * expected[name] + (1 - momentum) * value.double()
        assert twin.network[1].num_batches_tracked.item() == step + 1
    for name, value in twin.network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-6, atol=1e-6, msg=name)
    assert twin.network.mask.tolist() == [0.0, -torch.inf]


def test_a_momentum_may_be_given_per_update():
    source = network()
    twin = EMACopy(network(1), 1.0)
    twin.update(source, momentum=0.0)
    for name, value in source.state_dict().items():
        torch.testing.assert_close(twin.network.state_dict()[name], value)


def test_no_gradient_and_no_tie_to_the_source():
    source = network()
    twin = EMACopy(source)
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert not twin(torch.randn(2, 1, 8, 8)).requires_grad
    before = twin.network[0].weight.clone()
    with torch.no_grad():
        source[0].weight.add_(1)
    assert torch.equal(twin.network[0].weight, before)
    twin.update(source)
    # The source must not become a part of the twin, or it would be saved twice and reach the optimiser twice.
    assert len(list(twin.parameters())) == len(list(source.parameters()))


@pytest.mark.parametrize("keep_eval", [False, True])
def test_mode(keep_eval):
    twin = EMACopy(network(), keep_eval=keep_eval)
    assert twin.network[1].training is not keep_eval
    twin.train()
    assert twin.network[1].training is not keep_eval
    twin.eval()
    assert not twin.network[1].training


def test_lists_are_made_once_and_again_after_a_move():
    source = network()
    twin = EMACopy(source, 0.5)
    twin.update(source)
    lists = twin._followed[1]
    twin.update(source)
    assert twin._followed[1] is lists
    source.double()
    twin.double()
    twin.update(source)
    assert all(value.dtype is torch.float64 for value in twin._followed[1][0])
    twin.update(network(1).double())
    twin.load_state_dict(EMACopy(network(2)).state_dict())
    other = network(3).double()
    twin.update(other, momentum=0.0)
    torch.testing.assert_close(twin.network[1].running_mean, other[1].running_mean)


def test_a_source_of_another_structure_is_refused():
    twin = EMACopy(network())
    with pytest.raises(ConfigurationError, match="6 tensors differ|tensors differ, such as"):
        twin.update(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ConfigurationError, match=r"1 tensors differ, such as '4.weight'"):
        other = network()
        other[4] = nn.Linear(7, 5)
        twin.update(other)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_momentum_out_of_range(momentum):
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        EMACopy(network(), momentum)


@pytest.mark.parametrize(
    ("progress", "start", "end", "expected"),
    [(0, 0.996, 1.0, 0.996), (1, 0.996, 1.0, 1.0), (0.5, 0.9, 1.0, 0.95), (1 / 3, 0.0, 1.0, 0.25), (2, 0.9, 1.0, 1.0)],
)
def test_cosine_schedule(progress, start, end, expected):
    assert momentum_at(progress, start, end) == pytest.approx(expected, abs=1e-12)
    if 0 <= progress <= 1:
        formula = end - (end - start) * (math.cos(math.pi * progress) + 1) / 2
        assert momentum_at(progress, start, end) == pytest.approx(formula)
