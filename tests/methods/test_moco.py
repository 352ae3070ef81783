# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import MoCo
from monai_cxrssl.networks import Encoder
from tests.methods.small_encoder import SmallEncoder, views


def moco(**options) -> MoCo:
    return MoCo(SmallEncoder(), **{"queue_length": 10, "projection_channels": 4, "projection_layers": 1, **options})


@pytest.mark.parametrize(("length", "sizes"), [(10, [4] * 7), (7, [3, 3, 3, 3]), (4, [9, 6, 2]), (5, [5, 5]), (8, [3])])
def test_the_queue_holds_the_newest_keys_in_order(length, sizes):
    method = moco(queue_length=length)
    line: list[tuple[int, torch.Tensor, int]] = []
    for step, size in enumerate(sizes):
        batch = views(size, step)
        batch["patient"] = torch.arange(size) + 100 * step
        method.train()(batch)
        keys = F.normalize(method.key_encoder(batch["image"][:, 1]), dim=1)
        line += [(len(line) + i, keys[i], int(batch["patient"][i])) for i in range(size)]
        method.after_step(0.5)
        assert method.filled == min(len(line), length)
        for number, key, patient in line[-length:]:
            torch.testing.assert_close(method.queue[:, number % length], key)
            assert method.queue_patient[number % length] == patient


def test_loss_is_that_of_the_formula_and_grows_from_an_empty_queue():
    method, first, second = moco(mask_same_patient=False), views(6, 0), views(6, 1)
    assert method.train()(first)["loss"].item() == 0
    method.after_step(0.1)
    query = F.normalize(method.projection_head(method.network(second["image"][:, 0])), dim=1)
    key = F.normalize(method.key_encoder(second["image"][:, 1]), dim=1)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ method.queue[:, :6]], 1).double() / 0.2
    expected = (torch.logsumexp(logits, 1) - logits[:, 0]).mean().item()
    output = method(second)
    assert output["loss"].item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(F.normalize(output["embedding"], dim=1), query.detach())


def test_no_gradient_to_the_key_encoder_and_one_registration_of_the_trained_parts():
    method = moco()
    method.train()(views(4))
    method.after_step(0.1)
    method({**views(4, 1), "patient": torch.arange(4) + 50})["loss"].backward()
    assert all(parameter.grad is None for parameter in method.key_encoder.parameters())
    trained = [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    assert all(name.startswith(("network.", "projection_head.")) for name in trained)
    assert all(parameter.grad is not None for parameter in method.parameters() if parameter.requires_grad)


def test_keys_of_the_same_patient_are_no_negatives():
    method, batch = moco(), views(6)
    for _ in range(2):  # the second pass sees only its own images in the queue, as an epoch later
        batch["patient"] = torch.zeros(6, dtype=torch.int64)
        loss = method.train()(batch)["loss"].item()
        method.after_step(0.5)
    assert loss == 0
    del batch["patient"]
    with pytest.raises(ConfigurationError, match="MoCo needs the patient of every pair"):
        method(batch)


def test_accumulated_batches_see_one_queue_and_the_key_encoder_follows():
    method = moco(momentum=0.75)
    before = copy.deepcopy(method.key_encoder.state_dict())
    method.train()
    method(views(3))
    method(views(3, 1))
    assert method.filled == 0
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.add_(1)
    method.after_step(0.1)
    assert method.filled == 6
    name = "network.0.encoder.0.weight"
    torch.testing.assert_close(method.key_encoder.state_dict()[name], before[name] + 0.25)
    method.eval()(views(3))
    method.after_step(0.2)
    assert method.filled == 6


def test_a_state_dict_goes_on_where_it_was(tmp_path):
    whole, parts = moco(), moco()
    for step in range(4):
        for method in (whole, parts):
            method.train()(views(4, step))
            method.after_step(0.5)
        if step == 1:
            torch.save(parts.state_dict(), tmp_path / "method.pt")
            parts = moco(seed=1)
            parts.load_state_dict(torch.load(tmp_path / "method.pt", weights_only=True))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_a_real_encoder_trains_under_autocast():
    torch.manual_seed(0)
    method = MoCo(Encoder("resnet18"), queue_length=5).to(memory_format=torch.channels_last).train()
    for step in range(2):
        batch = {**views(4, step, side=32), "patient": torch.arange(4) + 4 * step}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method(batch)["loss"]
        loss.backward()
        method.after_step(0.5)
    assert loss.dtype is torch.float32
    assert loss.item() > 0
    assert torch.isfinite(method.network.encoder.conv1.weight.grad).all()


@pytest.mark.parametrize(
    ("options", "message"), [({"queue_length": 0}, "queue_length 0"), ({"momentum": 2}, "between 0"), ({"temperature": 0}, "greater")]
)  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ConfigurationError, match=message):
        moco(**options)


def test_one_process_computes_keys_in_shuffled_groups():
    """Batch statistics are those of a random group, and every key stands beside its own query."""
    torch.manual_seed(0)
    method = MoCo(Encoder("resnet18"), queue_length=16, key_groups=3, seed=5).train()
    images = torch.rand(10, 1, 32, 32)
    order = torch.randperm(10, generator=MoCo(Encoder("resnet18"), queue_length=16, seed=5).generator("cpu"))
    expected = torch.empty(10, 128)
    with torch.no_grad():
        for group in order.tensor_split(3):
            expected[group] = F.normalize(method.key_encoder(images[group]), dim=1)
        keys = method._keys(images, None)[0]
        together = F.normalize(method.key_encoder(images), dim=1)
    torch.testing.assert_close(keys, expected, rtol=1e-4, atol=1e-5)
    assert (keys - together).abs().max() > 1e-3


def test_groups_of_a_network_without_batch_statistics_change_nothing():
    torch.manual_seed(0)
    method = moco(key_groups=4).train()
    images = torch.rand(9, 1, 16, 16)
    with torch.no_grad():
        keys = method._keys(images, None)[0]
        torch.testing.assert_close(keys, F.normalize(method.key_encoder(images), dim=1))
