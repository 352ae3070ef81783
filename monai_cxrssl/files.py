# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a JSON file in one step: a reader finds the old file or the whole new one, never a part."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import DatalistError

__all__ = ["sync_folder", "write_json_file"]


def write_json_file(path: Path, content: dict[str, Any]) -> None:
    """Write compact JSON; an equal file is left alone.

    Args:
        path: the file; its folder exists.
        content: plain values without NaN.

    Raises:
        DatalistError: the content is no JSON.
        OSError: the disk refuses.
    """
    try:
        data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise DatalistError(f"An item of the datalist cannot be written as JSON ({error}).") from None
    if path.exists() and path.read_bytes() == data:
        return
    # Shards may write the same file at the same time, hence a name of one's own.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101 (mkstemp makes it private)
        os.replace(temporary, path)  # noqa: PTH105
        sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
