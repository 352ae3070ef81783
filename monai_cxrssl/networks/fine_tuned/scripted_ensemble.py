# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""TorchScript forms of an ensemble, of the same weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.networks.fine_tuned.means import mean_label_logits, mean_log_odds
from monai_cxrssl.networks.parts.scripted import scripted_network, with_forward

__all__ = ["scripted_ensemble"]


def scripted_ensemble(network: Any) -> nn.Module:
    """Return what ``torch.jit.script`` compiles for an ensemble, which returns what the ensemble does.

    Raises:
        ConfigurationError: TorchScript cannot compile the members.
    """
    return with_forward(_Members, network.branches, network.return_dict)(network)


class _Members(nn.Module):
    __constants__ = ("multi_class",)

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.members = nn.ModuleList([scripted_network(member, return_dict=False) for member in network.members])
        self.temperatures = network.temperatures
        self.multi_class = network.task == "multi_class"

    # A list of each output grows, since TorchScript compiles no comprehension over modules.
    def one(self, image: Tensor) -> Tensor:
        outputs = []
        for member in self.members:
            outputs.append(member(image))
        return torch.stack(outputs)

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        labels, masks = [], []
        for member in self.members:
            label, mask = member(image)
            labels.append(label)
            masks.append(mask)
        label_logits = mean_label_logits(torch.stack(labels), self.temperatures, self.multi_class)
        return label_logits, mean_log_odds(torch.stack(masks))

    def label(self, image: Tensor) -> Tensor:
        return mean_label_logits(self.one(image), self.temperatures, self.multi_class)

    def mask(self, image: Tensor) -> Tensor:
        return mean_log_odds(self.one(image))
