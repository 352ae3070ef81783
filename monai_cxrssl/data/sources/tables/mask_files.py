# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mask files drawn from run lengths and shapes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from monai_cxrssl.files import atomic_write

__all__ = ["write_masks"]


def write_masks(
    masks_dir: str | os.PathLike, folder: Path, masks: Mapping[str, Callable[[], np.ndarray]]
) -> dict[str, str]:
    """Draw masks that a table describes as PNG files, for tables hold no files that a datalist could name.

    Args:
        masks_dir: where they go; made when absent. Files of the same name are written anew.
        folder: top of the data set, which the paths of a datalist start from.
        masks: what draws each mask, ``(H, W)`` of 0 and 1, by the name of its file without extension.

    Returns:
        by the same names, the path of each file as seen from ``folder``.
    """
    from PIL import Image

    top = Path(masks_dir).expanduser().absolute()
    top.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, draw in tqdm(masks.items(), desc="drawing masks", unit="mask", leave=False, disable=None):
        path = top / f"{name}.png"
        with atomic_write(path) as partial:
            Image.fromarray(draw() * np.uint8(255)).save(partial, format="PNG")
        paths[name] = Path(os.path.relpath(path, folder.absolute())).as_posix()
    return paths
