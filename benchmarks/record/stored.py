# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of cells: small JSON that any machine can go on from."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.files import write_json

__all__ = ["read_cell", "write_cell"]

_SCORES = ("scores", "shift")
_PER_FILM = ("dice", "on_lungs", "chance", "pointing")
#: Log-odds beyond these are equal.
_FARTHEST = 60.0


def write_cell(path: Path, core_seconds: float, **arrays: Any) -> None:
    """Write a cell in one step.

    Args:
        path: its file.
        core_seconds: what it took.
        arrays: ``scores`` and ``shift``, probabilities ``(D, N, C)``, are kept as log-odds of 16 bits, other arrays
            ``(N,)`` in five digits with NaN as null, all else as it is.
    """
    content: dict[str, Any] = {"core_seconds": round(core_seconds, 1)}
    for name, values in arrays.items():
        if name in _SCORES:
            with np.errstate(divide="ignore"):
                odds = np.clip(np.log(values) - np.log1p(-np.asarray(values)), -_FARTHEST, _FARTHEST)
            text = base64.b64encode(odds.astype("<f2").tobytes()).decode("ascii")
            content[name] = {"shape": list(odds.shape), "log_odds": text}
        elif isinstance(values, np.ndarray):
            content[name] = [None if not np.isfinite(value) else round(float(value), 5) for value in values]
        else:
            content[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(content, path, indent=None)


def read_cell(path: Path) -> dict[str, Any] | None:
    """Return a cell, ``scores`` and ``shift`` as log-odds ``(D, N, C)``, or ``None`` where there is none."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in content.keys() & set(_SCORES):
        values = np.frombuffer(base64.b64decode(content[name]["log_odds"]), "<f2").astype(np.float64)
        content[name] = values.reshape(content[name]["shape"])
    for name in content.keys() & set(_PER_FILM):
        content[name] = np.array([np.nan if value is None else value for value in content[name]], dtype=np.float64)
    return content
