# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checksummed tensor files written atomically."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from monai_cxrssl.checkpoints.run_faults import describe_fault
from monai_cxrssl.errors import TrainingError
from monai_cxrssl.files import atomic_write

__all__ = ["read_checked", "save_atomically"]


def save_atomically(content: Any, path: str | os.PathLike, verify: bool = False) -> None:
    """Write with ``torch.save`` so that the file at ``path`` is at any moment either the old one or the whole new one.

    Args:
        content: tensors in plain containers.
        verify: read the new file back and compare its checksums before it takes the place of the old one.

    Raises:
        TrainingError: the disk is full, read-only or failing, or gives back something else; the old file stays.
    """
    path = Path(path)
    try:
        with atomic_write(path, sync=True) as partial:
            with open(partial, "wb") as file:
                torch.save(content, file)
            if verify:
                _compare_checksums(partial)
    except (OSError, RuntimeError) as error:
        # torch hides what the disk said behind a complaint about positions in its file.
        sentence = describe_fault(error)
        if sentence is None:
            raise
        raise TrainingError(f"{path} was not written. {sentence}") from error
    except ValueError as error:
        raise TrainingError(
            f"{path} was not written: read back from the disk, {error}. The disk or the memory is failing; what was "
            "saved before is untouched. Go on elsewhere, with another --output_dir."
        ) from error


def read_checked(path: str | os.PathLike) -> Any:
    """Load tensors in plain containers to the processor's memory, after a look at the checksums of all parts.

    ``torch.load`` compares no checksums: a file with a flipped bit gives another number without a word.

    Raises:
        ValueError: the file is cut, damaged, or holds more than tensors in plain containers; in words.
        OSError: it cannot be opened.
    """
    _compare_checksums(Path(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"it cannot be loaded ({reason.rstrip('.')})") from error


def _compare_checksums(path: Path) -> None:
    """Raise ``ValueError`` unless all parts of the archive that ``torch.save`` writes match their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    # Beside BadZipFile, a damaged directory brings zipfile to these.
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is cut or damaged ({path.stat().st_size} bytes: {error})") from error
    if damaged is not None:
        raise ValueError(f"its part {damaged} does not match its checksum")
