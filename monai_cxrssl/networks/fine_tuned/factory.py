# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned network of one member or several, by configuration."""

from __future__ import annotations

from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet
from monai_cxrssl.networks.multi_task import MultiTaskNet

__all__ = ["fine_tuned_network"]


def fine_tuned_network(
    encoder_name: str = "resnet50",
    members: int = 1,
    task: str = "multi_class",
    return_dict: bool = True,
    **options: Any,
) -> MultiTaskNet | EnsembleNet:
    """Build the network of trained weights: a :class:`MultiTaskNet`, or an :class:`EnsembleNet` of several such.

    Args:
        encoder_name: as ``return_dict`` and further ``options``, see :class:`MultiTaskNet`.
        members: how many networks the weights are of (:func:`monai_cxrssl.networks.read_members`).
        task: whose probabilities the members are averaged by.

    Raises:
        ConfigurationError: ``members`` is no number above 0; see also :class:`MultiTaskNet`.
    """
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise ConfigurationError(f"The network has {members!r} members; expected 1, or more of an ensemble.")
    if members == 1:
        return MultiTaskNet(encoder_name, return_dict=return_dict, **options)
    return EnsembleNet([MultiTaskNet(encoder_name, **options) for _ in range(members)], task, return_dict)
