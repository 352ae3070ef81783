# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretrained encoder weights loaded with an account."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["load_encoder_weights", "load_state_dict_file"]

logger = logging.getLogger(__name__)


def load_state_dict_file(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read a file of plain tensors, running no code of the file.

    The file is a ``.pt``/``.pth`` file written by ``torch.save``, or a ``.safetensors`` file. A checkpoint that keeps
    its weights under ``state_dict``, ``model`` or ``network`` is unwrapped. Tensors are on the CPU.

    Raises:
        ConfigurationError: when there is no such file, or it is not one of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(f"There is no file of weights at {path}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a file of weights that holds only tensors "
            f"({(str(error).strip() or type(error).__name__).splitlines()[0]})."
        ) from error
    for key in ("state_dict", "model", "network"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ConfigurationError(f"{path} holds no named tensors.")
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


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
        raise ConfigurationError(
            f"{said}. At most {max_missing:.0%} may be missing; is it the file of another --encoder_name?"
        )
    encoder.load_state_dict(fitting, strict=False)
    logger.info("%s.", said)
    return account
