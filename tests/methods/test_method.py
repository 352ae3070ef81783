# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_cxrssl.methods import SimCLR
from monai_cxrssl.networks import Encoder


def draw(method: SimCLR) -> list[float]:
    return torch.rand(4, generator=method.generator("cpu")).tolist()


def test_draws_differ_and_go_on_from_a_state_dict():
    first, again = SimCLR(Encoder("resnet18")), SimCLR(Encoder("resnet18"))
    early = [draw(first) for _ in range(3)]
    assert len({tuple(numbers) for numbers in early}) == 3
    again.load_state_dict(first.state_dict())
    assert draw(again) == draw(first)


def test_the_seed_decides():
    one, same, other = (SimCLR(Encoder("resnet18")) for _ in range(3))
    other.seed = 1
    assert draw(one) == draw(same) != draw(other)
