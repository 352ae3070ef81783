# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from monai_cxrssl.optim import create_optimizer


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


@pytest.mark.parametrize(
    ("opt", "fused"), [("adamw", True), ("adam", True), ("sgd", True), ("momentum", True), ("lars", False), ("rmsprop", False)]
)  # fmt: skip
def test_fused_where_torch_can(opt, fused):
    assert bool(create_optimizer(network(), opt, lr=0.1).defaults.get("fused")) is fused


def test_one_may_insist():
    assert not create_optimizer(network(), "adamw", lr=0.1, fused=False).defaults["fused"]


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_the_steps_are_timms(opt):
    from timm.optim import create_optimizer_v2

    ours, theirs = network(), network()
    first = create_optimizer(ours, opt, lr=0.05, weight_decay=0.1, momentum=0.8)
    second = create_optimizer_v2(theirs, opt, lr=0.05, weight_decay=0.1, momentum=0.8)
    assert [group["weight_decay"] for group in first.param_groups] == [0.0, 0.1]
    for step in range(5):
        images = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        for model, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
    for value, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["list", "generator", "named", "groups", "groups of generators"])
def test_every_form_of_parameters(kind):
    model = network()
    given = {
        "list": list(model.parameters()),
        "generator": model.parameters(),
        "named": model.named_parameters(),
        "groups": [{"params": list(model[0].parameters()), "lr": 0.2}, {"params": model[2].weight}],
        "groups of generators": [{"params": model.parameters()}],
    }[kind]
    optimizer = create_optimizer(given, "adamw", lr=0.1)
    assert optimizer.defaults["fused"]
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == (3 if kind == "groups" else 6)
    assert optimizer.param_groups[0]["lr"] == (0.2 if kind == "groups" else 0.1)


def test_parameters_elsewhere_are_not_fused():
    assert not create_optimizer(copy.deepcopy(network()).to("meta"), "adamw", lr=0.1).defaults.get("fused")


def test_state_goes_on_from_a_checkpoint():
    whole, parts = network(), network()
    images = torch.randn(6, 4)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()

    first, second = create_optimizer(whole, "adamw", lr=0.1), create_optimizer(parts, "adamw", lr=0.1)
    for _ in range(2):
        step(whole, first)
        step(parts, second)
    resumed = create_optimizer(parts, "adamw", lr=0.1)
    resumed.load_state_dict(copy.deepcopy(second.state_dict()))
    step(whole, first)
    step(parts, resumed)
    for value, expected in zip(parts.parameters(), whole.parameters(), strict=True):
        assert torch.equal(value, expected)


def lars_in_float64(values, gradients, rate, weight_decay, momentum=0.9, trust=1e-3):
    """You, Gitman & Ginsburg 2017, arXiv 1708.03888, algorithm 1; vectors by plain momentum, as SimCLR has it."""
    values = [value.double().clone() for value in values]
    buffers = [torch.zeros_like(value) for value in values]
    for step in gradients:
        for value, buffer, gradient in zip(values, buffers, step, strict=True):
            update = gradient.double()
            if value.ndim > 1:
                ratio = trust * value.norm() / (update.norm() + weight_decay * value.norm())
                update = ratio * (update + weight_decay * value)
            buffer.mul_(momentum).add_(update)
            value.sub_(rate * buffer)
    return values


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("form", ["module", "list", "groups", "named"])
def test_lars_stays_lars_whatever_the_weight_decay(weight_decay, form):
    model = network()
    given = {
        "module": model,
        "list": list(model.parameters()),
        "named": model.named_parameters(),
        "groups": [{"params": model[0].parameters()}, {"params": [*model[1].parameters(), *model[2].parameters()]}],
    }[form]
    optimizer = create_optimizer(given, "lars", lr=3.0, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(1)
    values = [value.detach().clone() for value in model.parameters()]
    gradients = [[torch.randn(value.shape, generator=generator) for value in values] for _ in range(5)]
    for step in gradients:
        for value, gradient in zip(model.parameters(), step, strict=True):
            value.grad = gradient.clone()
        optimizer.step()
    for value, expected in zip(model.parameters(), lars_in_float64(values, gradients, 3.0, weight_decay), strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opt", ["lars", "larc", "lamb", "nlars"])
def test_neither_decay_nor_adaptation_of_vectors(opt):
    for group in create_optimizer(network(), opt, lr=0.1, weight_decay=0.3).param_groups:
        matrices = {value.ndim > 1 for value in group["params"]}
        assert matrices == {group["always_adapt"]}
        assert group["weight_decay"] == (0.3 if group["always_adapt"] else 0.0)
