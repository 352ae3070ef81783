# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.networks.parts.named_logits import named_logits


@pytest.mark.parametrize(("classes", "decoder"), [(2, None), (0, "Unet"), (2, "Unet")])
def test_bare_logits_get_the_names_of_the_branches(classes, decoder):
    network = MultiTaskNet("resnet18", classes, decoder).eval()
    with torch.no_grad():
        expected = network(torch.ones(1, 1, 64, 64))
        network.return_dict = False
        named = named_logits(network, network(torch.ones(1, 1, 64, 64)))
    assert list(named) == list(expected) == list(network.branches)
    assert all(torch.equal(named[name], value) for name, value in expected.items())
    assert named_logits(network, expected) == expected


def test_a_network_that_names_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="A Flatten returns Tensor without names"):
        named_logits(torch.nn.Flatten(), torch.ones(1, 2))
