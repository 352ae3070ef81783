# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretrained encoder weights loaded with an account."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights_file import read_header, read_tensors

__all__ = ["load_encoder_weights", "load_exactly", "load_state_dict_file"]

logger = logging.getLogger(__name__)


def load_state_dict_file(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read a file of plain tensors, running no code of the file.

    Args:
        path: a file written by ``torch.save``, or a safetensors file. A checkpoint that keeps its
            weights under ``state_dict``, ``model`` or ``network`` is unwrapped.

    Returns:
        Names and tensors, on the CPU.

    Raises:
        ConfigurationError: when there is no such file, or it is not one of tensors.
    """
    return read_tensors(Path(path))


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


def load_encoder_weights(encoder: nn.Module, path: str | os.PathLike, max_missing: float = 0.05) -> dict[str, int]:
    """Fill an smp encoder from a file and log how much of it was found.

    The file (:func:`load_state_dict_file`) may carry any prefix before the encoder's own keys (``encoder.``,
    ``module.network.encoder.`` …); the prefix under which most keys match is taken. Up to ``max_missing`` of the
    encoder's values, from 0 to 1, may be absent or of another shape. Return the counts of tensors: ``loaded``,
    ``missing``, ``mismatched`` and ``unused``.

    Raises:
        ConfigurationError: when a larger share is missing; the encoder is then unchanged.
    """
    weights = load_state_dict_file(path)
    wanted = encoder.state_dict()
    prefixes = {key[: -len(name)] for name in list(wanted)[:8] for key in weights if key.endswith(name)}
    best = max(sorted(prefixes), key=lambda prefix: sum(prefix + name in weights for name in wanted), default="")
    found = {name: weights[best + name] for name in wanted if best + name in weights}
    fitting = {name: value for name, value in found.items() if value.shape == wanted[name].shape}
    size = sum(value.numel() for value in wanted.values())
    missing_share = 1 - sum(value.numel() for value in fitting.values()) / max(size, 1)
    account = {
        "loaded": len(fitting),
        "missing": len(wanted) - len(found),
        "mismatched": len(found) - len(fitting),
        "unused": len(weights) - len(found),
    }
    said = (
        f"{path}: {account['loaded']} of {len(wanted)} encoder tensors loaded ({1 - missing_share:.1%} of the values), "
        f"{account['missing']} missing, {account['mismatched']} of another shape, "
        f"{account['unused']} of the file not used"
    )
    if missing_share > max_missing:
        named = (read_header(Path(path))[1] or {}).get("encoder_name")
        raise ConfigurationError(
            f"{said}. At most {max_missing:.0%} may be missing; is it the file of another --encoder_name?"
            + (f" It says of itself that it is a {named}." if named else "")
        )
    encoder.load_state_dict(fitting, strict=False)
    logger.info("%s.", said)
    return account
