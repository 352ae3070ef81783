# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import logging

import pytest
import torch

from monai_cxrssl.engines import MethodTrainer, MultiTaskTrainer
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware import compile as compile_network
from monai_cxrssl.methods import MoCo, SimCLR
from tests.engines.small_multi_task import PlainLoss, SmallMultiTask
from tests.engines.small_multi_task import batches as labelled
from tests.methods.small_encoder import SmallEncoder, views


@pytest.fixture(autouse=True)
def _forget():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def methods():
    return {
        "simclr": lambda: SimCLR(SmallEncoder()),
        "moco": lambda: MoCo(SmallEncoder(), queue_length=16),
    }


def train(method, compiled):
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    data = [views(4, seed) for seed in range(2)]
    MethodTrainer("cpu", 2, data, method, optimizer, amp=False, compile=compiled).run()
    return method.state_dict()


@pytest.mark.parametrize("name", ["simclr", "moco"])
def test_a_compiled_run_is_the_same_run(name, caplog):
    torch.manual_seed(0)
    plain = methods()[name]()
    compiled = copy.deepcopy(plain)
    expected = train(plain, False)
    with caplog.at_level(logging.INFO):
        found = train(compiled, "aot_eager")
    assert list(found) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)
    assert caplog.text.count("torch.compile: the first step took") == 1


def test_the_encoder_and_the_keys_encoder_are_compiled(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: seen.append((self, options)))
    method = MoCo(SmallEncoder())
    compile_network.compile_network(method, "cuda")
    key_encoder = method.key_encoder.network[0].encoder
    assert seen == [(method.network.encoder, {"backend": "inductor"}), (key_encoder, {"backend": "inductor"})]


def test_fine_tuning_takes_the_option():
    from monai_cxrssl.methods import FineTuningMethod

    method = FineTuningMethod(SmallMultiTask(), PlainLoss())
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    MultiTaskTrainer("cpu", 1, labelled(1), method, optimizer, amp=False, compile="eager").run()
    assert method.network.encoder._compiled_call_impl is not None


def test_what_cannot_be_compiled_is_said(monkeypatch):
    method = SimCLR(SmallEncoder())
    with pytest.raises(ConfigurationError, match="backend of torch.compile, got 'fast'"):
        compile_network.compile_network(method, "cpu", "fast")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs a C\\+\\+ compiler"):
        compile_network.compile_network(method, "cpu")
    method.tokens = None
    with pytest.raises(ConfigurationError, match="one by one"):
        compile_network.compile_network(method, "cuda")
