# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights files: tensors and description, read without running code."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError

__all__ = ["put_description", "read_content", "read_header", "read_tensors", "tensors_sha256"]

#: Attribute of the state dict that holds the description: ``torch.save`` keeps it, and who loads the dict sees only
#: tensors in it, so that a strict load needs to know nothing of it.
_ATTRIBUTE = "monai_cxrssl_description"
#: Entry of the header of a safetensors file, where values are text.
_HEADER_KEY = "monai_cxrssl_description"
#: Where checkpoints keep their state dict.
_WRAPPERS = ("state_dict", "model", "network")
#: Bytes of a file's beginning by which its kind is told.
_HEAD = 512


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return names and tensors of a file, on the CPU.

    Args:
        path: written by ``torch.save``, or a safetensors file. A checkpoint that keeps its weights under
            ``state_dict``, ``model`` or ``network`` is unwrapped.

    Raises:
        ConfigurationError: there is no such file, or it holds something else; the sentence says what.
    """
    state = _state_dict(read_content(path), path)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def read_header(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    """Return the names of the tensors and the description inside a file, and read no values where the format allows.

    Raises:
        ConfigurationError: see :func:`read_tensors`; or the description is no mapping.
    """
    if _is_safetensors(_head(path)):
        from safetensors import safe_open

        with _Explained(path), safe_open(path, "pt") as file:
            names, text = list(file.keys()), (file.metadata() or {}).get(_HEADER_KEY)
            description = None if text is None else json.loads(text)
    else:
        state = _state_dict(_torch_content(path, mmap=zipfile.is_zipfile(path)), path)
        names = [name for name, value in state.items() if isinstance(value, Tensor)]
        description = getattr(state, _ATTRIBUTE, None)
    if description is not None and not isinstance(description, dict):
        raise ConfigurationError(f"{path} holds a description that is none ({description!r}); write it anew.")
    return names, description


def read_content(path: Path) -> Any:
    """Return all that a file holds, its tensors on the CPU.

    Raises:
        ConfigurationError: see :func:`read_tensors`.
    """
    if _is_safetensors(_head(path)):
        from safetensors.torch import load_file

        with _Explained(path):
            return load_file(path)
    return _torch_content(path)


def put_description(content: Mapping[str, Any], description: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Return a state dict, or a checkpoint around one, with a description in the place of its own.

    Args:
        content: of a file of weights.
        description: plain JSON values.
    """
    result = OrderedDict(content)
    vars(result).update(getattr(content, "__dict__", {}))
    for key in _WRAPPERS:
        if isinstance(content.get(key), dict):
            result[key] = put_description(content[key], description)
            return result
    vars(result)[_ATTRIBUTE] = json.loads(json.dumps(dict(description), allow_nan=False))
    return result


def safetensors_header(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the header's entries of a safetensors file with a description."""
    return {"format": "pt", _HEADER_KEY: json.dumps(dict(description), allow_nan=False)}


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's tensors, 64 hexadecimal digits: names, types, shapes and values.

    Unlike a hash of the file it stays the same when a description is written into it.

    Raises:
        ConfigurationError: see :func:`read_tensors`.
    """
    digest = hashlib.sha256()
    for name, value in sorted(read_tensors(path).items()):
        digest.update(f"{name}\n{value.dtype}\n{tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _head(path: Path) -> bytes:
    """Return the beginning of a file; refuse at once what can be told by it to be no weights."""
    if not path.exists():
        raise ConfigurationError(f"There is no file of weights at {path}.")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; give the file of weights in it, such as model.pt.")
    with _Explained(path), open(path, "rb") as file:
        head = file.read(_HEAD)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        raise ConfigurationError(f"{path} is empty (0 bytes), so there are no weights in it; copy it again.")
    if text.startswith(b"version https://git-lfs"):
        raise ConfigurationError(
            f"{path} is a pointer of git LFS and not the weights that it stands for; run `git lfs pull` where it was "
            "cloned."
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ConfigurationError(
            f"{path} is a web page and no file of weights, as a download without a login leaves it; download it again, "
            "signed in."
        )
    return head


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a JSON header and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27


def _torch_content(path: Path, mmap: bool = False) -> Any:
    if zipfile.is_zipfile(path):
        _refuse_other_archive(path)
    with _Explained(path):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def _refuse_other_archive(path: Path) -> None:
    with _Explained(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    parts = [name.partition("/")[2] for name in names]
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        raise ConfigurationError(
            f"{path} is a TorchScript program and no state dict; ask for the file that "
            "torch.save(model.state_dict(), ...) writes."
        )
    if "data.pkl" not in parts:
        raise ConfigurationError(
            f"{path} is an archive of other files ({', '.join(names[:3]) or 'none'}{' ...' if names[3:] else ''}) and "
            "no file of weights; unpack it and give the one in it."
        )


def _state_dict(content: Any, path: Path) -> Mapping[str, Any]:
    """Unwrap a checkpoint."""
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return _state_dict(content[key], path)
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ConfigurationError(f"{path} holds no named tensors; give the state dict of a network.")
    return content


class _Explained:
    """Turn what a library says of a file into one sentence, which never advises to run the code in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, ConfigurationError):
            return
        raise ConfigurationError(self._sentence(error)) from error

    def _sentence(self, error: Exception) -> str:
        try:
            with open(self.path, "rb") as file:
                head = file.read(16)
        except OSError as denied:
            return f"{self.path} cannot be read ({denied.strerror or denied}); check the file and its rights."
        size = self.path.stat().st_size
        known = head.startswith((b"PK\x03\x04", b"\x80")) or _is_safetensors(head)
        if isinstance(error, pickle.UnpicklingError) and head.startswith((b"PK\x03\x04", b"\x80")):
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            what = f" ({named[1]})" if named else ""
            return (
                f"{self.path} is a pickle of more than tensors{what}, and to load it would run code that came with it; "
                "ask for the file that torch.save(model.state_dict(), ...) writes."
            )
        if known:
            return f"{self.path} is cut off or damaged ({size} bytes), so no weights can be read; copy it again."
        return (
            f"{self.path} is no file of weights: it begins with {head!r}, and neither torch.save nor safetensors "
            "writes that."
        )
