# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.optim import CosineWeightDecay


def make_optimizer(decay: float = 0.04) -> torch.optim.Optimizer:
    weight, bias = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    return torch.optim.AdamW([{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}])


def run(optimizer, epochs: int, first_epoch: int = 0, start: float = 0.04) -> list[tuple[float, float]]:
    seen = []
    engine = Engine(lambda *_: seen.append(tuple(group["weight_decay"] for group in optimizer.param_groups)))
    CosineWeightDecay(optimizer, start=start, end=0.4).attach(engine)
    engine.load_state_dict({"epoch": first_epoch, "max_epochs": 4, "epoch_length": 5})
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=epochs), engine.terminate)
    engine.run(range(5), max_epochs=4)
    return seen


@pytest.mark.parametrize("start", [0.04, 0.0])
def test_half_a_cosine_over_the_run(start):
    seen = run(make_optimizer(), 4, start=start)
    expected = 0.4 - (0.4 - start) * (1 + np.cos(np.pi * np.arange(20, dtype=np.float64) / 19)) / 2
    np.testing.assert_allclose([decay for decay, _ in seen], expected, rtol=1e-12)
    assert {bias for _, bias in seen} == {0.0}


def test_a_resumed_run_goes_on():
    whole, optimizer = run(make_optimizer(), 4), make_optimizer()
    first = run(optimizer, 2)
    again = make_optimizer()
    again.load_state_dict(optimizer.state_dict())
    assert first + run(again, 4, first_epoch=2) == whole


def test_refuses_what_cannot_work():
    with pytest.raises(ConfigurationError, match="No group"):
        CosineWeightDecay(make_optimizer(0.0))
    with pytest.raises(ConfigurationError, match="0 or more"):
        CosineWeightDecay(make_optimizer(), start=-1)
