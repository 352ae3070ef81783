# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of a whole network, loaded to the last tensor."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["load_exactly"]


def load_exactly(network: nn.Module, weights: Mapping[str, Tensor], name: str, remedy: str) -> None:
    """Fill every tensor of a network.

    Args:
        network: filled in place.
        weights: its state dict.
        name: of the weights, for the message.
        remedy: the end of the message.

    Raises:
        ConfigurationError: a tensor is missing, left over or of another shape; the network is then unchanged.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in weights]
    surplus = [key for key in weights if key not in expected]
    other = [key for key in expected if key in weights and weights[key].shape != expected[key].shape]
    said = [f"{len(keys)} {what} (such as {keys[0]})"
            for keys, what in ((missing, "missing"), (surplus, "left over")) if keys]  # fmt: skip
    if other:
        shapes = [
            " x ".join(map(str, shape)) or "a number" for shape in (weights[other[0]].shape, expected[other[0]].shape)
        ]
        said.append(f"{len(other)} of another shape (such as {other[0]}: {shapes[0]} in place of {shapes[1]})")
    if said:
        raise ConfigurationError(
            f"{name} does not fit the network of {len(expected)} tensors: {', '.join(said)}. {remedy}"
        )
    network.load_state_dict(dict(weights))
