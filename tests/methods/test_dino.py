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
from monai_cxrssl.methods import DINO
from monai_cxrssl.networks import Encoder
from tests.losses.test_dino import reference
from tests.methods.small_encoder import SmallEncoder, views


def dino(seed: int = 0, **options) -> DINO:
    return DINO(SmallEncoder(seed), **{"prototypes": 9, "hidden_channels": 12, "bottleneck_channels": 5, **options})


def crops(size: int = 4, local: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 100)
    return {**views(size, seed), "local_image": torch.rand(size, local, 1, 12, 12, generator=generator)}


@pytest.mark.parametrize("local", [0, 1, 3])
def test_loss_is_that_of_the_paper(local):
    method, batch = dino().train(), crops(local=local)
    if not local:
        del batch["local_image"]
    method.centre.uniform_(-0.1, 0.1)
    images = [*batch["image"].unbind(1), *(batch["local_image"].unbind(1) if local else [])]
    with torch.no_grad():
        student = np.stack([method.head(method.network(view)).double().numpy() for view in images])
        teacher = np.stack([method.teacher(view).double().numpy() for view in images[:2]])
    expected = reference(student, teacher, method.centre.double().numpy(), 0.1, 0.04)
    output = method(batch)
    assert output["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert output["trivial_loss"].item() == pytest.approx(math.log(9))
    assert output["embedding"].shape == (8, 16)


def test_outputs_are_cosines_to_prototypes_of_length_one():
    method = dino()
    with torch.no_grad():
        method.head.prototypes.mul_(7)
        reference_layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(5, 9, bias=False))
        reference_layer.parametrizations.weight.original0.fill_(1)
        reference_layer.parametrizations.weight.original1.copy_(method.head.prototypes)
        embedding = torch.rand(3, 16)
        hidden = torch.nn.functional.normalize(method.head.layers(embedding), dim=1)
        torch.testing.assert_close(method.head(embedding), reference_layer(hidden))


def test_the_centre_follows_the_teacher_once_a_step():
    method = dino(centre_momentum=0.8).train()
    batches = [crops(seed=seed) for seed in (0, 1)]
    means = []
    for batch in batches:
        method(batch)
        with torch.no_grad():
            means.append(method.teacher(batch["image"].flatten(0, 1)).double().mean(0))
        assert not method.centre.any()  # accumulated batches see one centre
    method.after_step(0.1)
    expected = 0.2 * (means[0] + means[1]) / 2
    torch.testing.assert_close(method.centre.double(), expected, rtol=0, atol=1e-6)
    method.eval()(crops())
    method.after_step(0.2)
    torch.testing.assert_close(method.centre.double(), expected, rtol=0, atol=1e-6)


def test_the_centre_is_that_of_all_processes(monkeypatch):
    method, other = dino().train(), dino().train()
    for one, seed in ((method, 0), (other, 1)):
        one(crops(seed=seed))
    theirs = other._waiting[0]
    together = (method._waiting[0] + theirs) / 2
    monkeypatch.setattr("monai_cxrssl.methods.dino.idist.get_world_size", lambda: 2)
    monkeypatch.setattr("monai_cxrssl.methods.dino.idist.all_reduce", lambda value: value + theirs)
    method.after_step(0.1)
    torch.testing.assert_close(method.centre, 0.1 * together)


def test_the_teacher_follows_along_a_cosine_and_gets_no_gradient():
    method = dino()
    method.train()(crops())["loss"].backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    before = copy.deepcopy(method.teacher.network[0].state_dict())
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.add_(1)
    method.after_step(0.3)
    momentum = 1 - (1 - 0.996) * (math.cos(math.pi * 0.3) + 1) / 2
    for name, value in method.teacher.network[0].state_dict().items():
        torch.testing.assert_close(value, before[name] + 1 - momentum, rtol=0, atol=1e-6)


def test_temperature_rises_in_a_line():
    method = dino(teacher_temperature=(0.02, 0.08), warmup_share=0.5)
    told = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        if progress:
            method.after_step(progress)
        told.append(method.teacher_temperature)
    assert told == pytest.approx([0.02, 0.05, 0.08, 0.08])


def test_the_last_layer_rests_in_the_first_epoch_and_the_teacher_is_kept():
    method, seen = dino(), []
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: seen.append(bool(method.head.prototypes.grad.any())))
    MethodTrainer("cpu", 3, [crops(seed=0), crops(seed=1)], method, optimizer, amp=False).run()
    assert seen == [False, False, True, True, True, True]
    for name, value in method.network.state_dict().items():
        assert torch.equal(value, method.teacher.network[0].state_dict()[name])


def test_a_state_dict_goes_on_where_it_was(tmp_path):
    def step(method, number):
        method.begin(3)
        optimizer = torch.optim.SGD(method.parameters(), lr=0.5)
        method.train()(crops(seed=number))["loss"].backward()
        optimizer.step()
        method.zero_grad()
        method.after_step(number / 6)

    whole = dino()
    for number in (1, 2, 3):
        step(whole, number)
    torch.save(whole.state_dict(), tmp_path / "method.pt")
    parts = dino(seed=1)
    parts.load_state_dict(torch.load(tmp_path / "method.pt", weights_only=True))
    assert parts.teacher_temperature == whole.teacher_temperature
    for number in (4, 5, 6):
        step(whole, number)
        step(parts, number)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


@pytest.mark.parametrize("name", ["resnet18", "tu-vit_tiny_patch16_224"])
def test_real_encoders_take_both_sizes_under_autocast(name):
    torch.manual_seed(0)
    method = DINO(Encoder(name), prototypes=32, hidden_channels=16).train()
    batch = {"image": torch.rand(3, 2, 1, 64, 64), "local_image": torch.rand(3, 2, 1, 32, 32)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(batch)["loss"]
    loss.backward()
    assert loss.dtype is torch.float32
    assert all(torch.isfinite(value.grad).all() for value in method.parameters() if value.grad is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_temperature": (0, 0.1)}, "two above 0"),
        ({"warmup_share": 2}, "warmup_share is 2"),
        ({"centre_momentum": -1}, "centre_momentum is -1"),
        ({"momentum": 2}, "between 0 and 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigurationError, match=message):
        dino(**options)
