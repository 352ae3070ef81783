# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import BYOL
from monai_cxrssl.networks import Encoder
from tests.methods.small_encoder import SmallEncoder, views


def byol(**options) -> BYOL:
    return BYOL(SmallEncoder(), **{"projection_channels": 6, "hidden_channels": 12, **options})


def unit(rows: torch.Tensor) -> np.ndarray:
    rows = rows.detach().double().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_loss_is_that_of_the_paper_in_both_directions():
    method, batch = byol().train(), views(7)
    first, second = batch["image"].unbind(1)
    # In training mode, in which batch statistics are those of one view.
    expected, trivial = 0.0, 0.0
    for view, other in ((first, second), (second, first)):
        prediction = unit(method.predictor(method.projector(method.network(view))))
        target = unit(method.target(other))
        expected += np.mean(np.sum((prediction - target) ** 2, axis=1))
        mean = target.mean(0)
        trivial += np.mean(np.sum((mean / np.linalg.norm(mean) - target) ** 2, axis=1))
    output = method(batch)
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert output["trivial_loss"].item() == pytest.approx(trivial, rel=1e-4)
    assert output["embedding"].shape == (14, 6)
    assert not output["embedding"].requires_grad


def test_the_target_gets_no_gradient_and_all_that_is_trained_does():
    method = byol().train()
    method(views(4))["loss"].backward()
    assert all(parameter.grad is None for parameter in method.target.parameters())
    trained = {name: value for name, value in method.named_parameters() if value.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"network", "projector", "predictor"}
    assert all(value.grad is not None for value in trained.values())


def test_the_target_follows_along_a_cosine():
    method = byol(momentum=0.99)
    for progress in (0.25, 0.5, 0.9, 1.0):
        before = copy.deepcopy(method.target.state_dict())
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.rand_like(parameter))
        method.after_step(progress)
        momentum = 1 - (1 - 0.99) * (math.cos(math.pi * progress) + 1) / 2
        online = {"network.0." + k: v for k, v in method.network.state_dict().items()}
        online |= {"network.1." + k: v for k, v in method.projector.state_dict().items()}
        assert online.keys() == method.target.state_dict().keys()
        for name, value in method.target.state_dict().items():
            if value.is_floating_point():
                expected = momentum * before[name].double() + (1 - momentum) * online[name].double()
                torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("normalisation", ["group", "batch"])
def test_a_state_dict_goes_on_where_it_was(tmp_path, normalisation):
    def build(seed=0):
        return BYOL(SmallEncoder(seed, normalisation=normalisation), projection_channels=6, hidden_channels=12)

    def step(method, optimizer, number):
        method.train()(views(4, number))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(number / 6)

    whole = build()
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
    for number in range(1, 4):
        step(whole, optimizer, number)
    torch.save(whole.state_dict(), tmp_path / "method.pt")
    parts = build(seed=1)
    parts.load_state_dict(torch.load(tmp_path / "method.pt", weights_only=True))
    for number in range(4, 7):
        for method in (whole, parts):
            step(method, torch.optim.SGD(method.parameters(), lr=0.1), number)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_a_real_encoder_trains_under_autocast():
    torch.manual_seed(0)
    method = BYOL(Encoder("resnet18"), hidden_channels=32).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(views(4, side=32))["loss"]
    loss.backward()
    assert loss.dtype is torch.float32
    assert all(torch.isfinite(value.grad).all() for value in method.parameters() if value.grad is not None)


def test_dropout_acts_in_the_online_network_alone():
    method = BYOL(SmallEncoder(dropout=0.5), projection_channels=6, hidden_channels=12).train()
    assert not any(isinstance(layer, torch.nn.Dropout) and layer.training for layer in method.target.modules())
    assert all(layer.training for layer in method.target.modules() if isinstance(layer, torch.nn.BatchNorm1d))
    assert any(isinstance(layer, torch.nn.Dropout) and layer.training for layer in method.network.modules())


def test_chunks_of_a_batch_are_refused_with_the_remedy():
    optimizer = torch.optim.SGD(byol().parameters(), lr=0.1)
    with pytest.raises(ConfigurationError, match=r"BYOL is none. Use accumulation_steps"):
        MethodTrainer("cpu", 1, [views(4)], byol(), optimizer, gradient_cache_chunk=2)
