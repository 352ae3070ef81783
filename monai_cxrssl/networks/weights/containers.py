# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""State dicts inside checkpoints: nested containers, wrappers and arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.file import read_content

__all__ = ["container_key", "find_state", "read_weights", "tensors_of"]

#: Keys under which checkpoints keep a network, best first: an average of weights goes before the weights themselves.
_KEYS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "target_encoder"),
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "student", "module"),
    *("encoder_state_dict", "encoder_state", "encoder_q", "encoder", "backbone", "image_encoder", "visual"),
    *("classy_state_dict", "base_model", "trunk", "weights", "params"),
)
#: What training keeps beside the weights.
_NO_NETWORK = ("optim", "opt", "scheduler", "lr_sched", "scaler", "loss", "callbacks", "loops", "rng", "amp")


def read_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return names and tensors of a file, on the CPU; no code of the file is run.

    Args:
        path: written by ``torch.save``, a safetensors file or an ``.npz`` archive. A checkpoint that keeps its weights
            under other keys is unwrapped, see :func:`find_state`.

    Raises:
        ConfigurationError: there is no such file, or it holds something else; the sentence says what.
    """
    path = Path(path)
    return tensors_of(find_state(read_content(path), path))


def tensors_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a mapping and of the mappings in it, whose names are joined by dots."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or (name.lower().startswith(_NO_NETWORK) and isinstance(value, Mapping)):
            continue
        if isinstance(value, Tensor):
            found[name] = value.detach()
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            found[name] = torch.from_numpy(np.ascontiguousarray(value))
        elif isinstance(value, Mapping):
            found.update({f"{name}.{inner}": tensor for inner, tensor in tensors_of(value).items()})
    return found


def container_key(content: Any) -> str | None:
    """Return the key under which a checkpoint keeps its network, ``None`` where there is no such container."""
    if not isinstance(content, Mapping):
        return None
    return next((key for key in _KEYS if isinstance(content.get(key), Mapping) and tensors_of(content[key])), None)


def find_state(content: Any, path: Path) -> Mapping[str, Any]:
    """Walk the containers of a checkpoint down to the state dict of its network.

    Raises:
        ConfigurationError: there are no named tensors in it.
    """
    state = content
    while (key := container_key(state)) is not None:
        state = state[key]
    if not isinstance(state, Mapping) or not tensors_of(state):
        raise ConfigurationError(f"{path} holds no named tensors; give the state dict of a network.")
    return state
