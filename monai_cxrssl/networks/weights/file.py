# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Content of weights of torch, safetensors or numpy, without their code."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.harmless import load_harmless

__all__ = ["Explained", "is_npz", "is_safetensors", "read_content", "read_torch"]

#: Bytes of a file's beginning by which its kind is told.
_HEAD = 512
_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def read_content(path: Path) -> Any:
    """Return all that a file holds, its tensors on the CPU, arrays of numpy as they are.

    Raises:
        ConfigurationError: there is no such file, or it holds something else; the sentence says what.
    """
    if is_safetensors(path):
        from safetensors.torch import load_file

        with Explained(path):
            return load_file(path)
    if is_npz(path):
        with Explained(path), np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    return read_torch(path)


def _head(path: Path) -> bytes:
    """Return the beginning of a file; refuse at once what can be told by it to be no weights."""
    if not path.exists():
        raise ConfigurationError(f"There is no file of weights at {path}.")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; give the file of weights in it, such as model.pt.")
    with Explained(path), open(path, "rb") as file:
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


def is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON header and the header; refuse what holds no weights at all."""
    return _begins_safetensors(_head(path))


def _begins_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27


def read_torch(path: Path, mmap: bool = False) -> Any:
    """Return what ``torch.save`` wrote, of plain values and the types of :mod:`~.harmless`."""
    if zipfile.is_zipfile(path):
        _refuse_other_archive(path)
    with Explained(path):
        return load_harmless(path, mmap)


def is_npz(path: Path) -> bool:
    """Whether a file is an archive of arrays, as ``numpy.savez`` writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with Explained(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _refuse_other_archive(path: Path) -> None:
    with Explained(path), zipfile.ZipFile(path) as archive:
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


class Explained:
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
        known = head.startswith((b"PK\x03\x04", b"\x80")) or _begins_safetensors(head)
        if isinstance(error, pickle.UnpicklingError) and head.startswith((b"PK\x03\x04", b"\x80")):
            named = re.search(r"GLOBAL ([\w.]+)", _SEQUENCES.sub("", str(error)))
            what = f" ({named[1]})" if named else ""
            return (
                f"{self.path} is a pickle of more than tensors{what}, and to load it would run code that came with it; "
                "where its library is installed and the file is trusted, save the state dict alone with "
                "torch.save(model.state_dict(), FILE) and give that file."
            )
        if known:
            return f"{self.path} is cut off or damaged ({size} bytes), so no weights can be read; copy it again."
        return (
            f"{self.path} is no file of weights: it begins with {head!r}, and none of torch.save, safetensors and "
            "numpy.savez writes that."
        )
