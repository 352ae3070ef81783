# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names and description of a weights file, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.containers import container_key, find_state, read_weights, tensors_of
from monai_cxrssl.networks.weights.file import Explained, is_npz, is_safetensors, read_content, read_torch

__all__ = [
    "put_description",
    "put_projection_head",
    "read_header",
    "read_projection_head",
    "safetensors_header",
    "tensors_sha256",
]

#: Attribute of the state dict that holds the description: ``torch.save`` keeps it, and who loads the dict sees only
#: tensors in it, so that a strict load needs to know nothing of it.
_ATTRIBUTE = "monai_cxrssl_description"
#: Attribute of the state dict that holds the tensors of the head which pretraining put behind the encoder.
_PROJECTION_HEAD = "monai_cxrssl_projection_head"
#: Entry of the header of a safetensors file, where values are text.
_HEADER_KEY = "monai_cxrssl_description"


def read_header(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    """Return the names of the tensors and the description inside a file, and read no values where the format allows.

    Raises:
        ConfigurationError: see :func:`~.containers.read_weights`; or the description is no mapping.
    """
    if is_safetensors(path):
        from safetensors import safe_open

        with Explained(path), safe_open(path, "pt") as file:
            names, text = list(file.keys()), (file.metadata() or {}).get(_HEADER_KEY)
            description = None if text is None else json.loads(text)
    else:
        content = read_content(path) if is_npz(path) else read_torch(path, mmap=zipfile.is_zipfile(path))
        state = find_state(content, path)
        names, description = list(tensors_of(state)), getattr(state, _ATTRIBUTE, None)
    if description is not None and not isinstance(description, dict):
        raise ConfigurationError(f"{path} holds a description that is none ({description!r}); write it anew.")
    return names, description


def put_description(content: Mapping[str, Any], description: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Return a state dict, or a checkpoint around one, with a description in the place of its own.

    Args:
        content: of a file of weights.
        description: plain JSON values.
    """
    result = OrderedDict(content)
    vars(result).update(getattr(content, "__dict__", {}))
    if (key := container_key(content)) is not None:
        result[key] = put_description(content[key], description)
        return result
    vars(result)[_ATTRIBUTE] = json.loads(json.dumps(dict(description), allow_nan=False))
    return result


def put_projection_head(state: Mapping[str, Any], head: Mapping[str, torch.Tensor]) -> OrderedDict[str, Any]:
    """Return a state dict that carries, unseen by who loads it, the tensors of a projection head by name."""
    result = OrderedDict(state)
    vars(result)[_PROJECTION_HEAD] = dict(head)
    return result


def read_projection_head(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the projection head that a file of weights carries; none where it carries no head."""
    content = {} if is_npz(path) or is_safetensors(path) else read_torch(path)
    return dict(getattr(content, _PROJECTION_HEAD, {}))


def safetensors_header(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the header's entries of a safetensors file with a description."""
    return {"format": "pt", _HEADER_KEY: json.dumps(dict(description), allow_nan=False)}


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's tensors, 64 hexadecimal digits: names, types, shapes and values.

    Unlike a hash of the file it stays the same when a description is written into it.

    Raises:
        ConfigurationError: see :func:`~.containers.read_weights`.
    """
    digest = hashlib.sha256()
    for name, value in sorted(read_weights(path).items()):
        digest.update(f"{name}\n{value.dtype}\n{tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
