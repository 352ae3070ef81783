# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Metadata of an image moved onto another grid.

A matrix here is ``(3, 3)`` float64 and maps (row, column, 1) of a pixel of the new grid to the old one; whole numbers
are centres of pixels, as in the affine of a ``MetaTensor``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, get_track_meta
from monai.data.utils import to_affine_nd
from monai.transforms.inverse import TraceableTransform
from monai.utils import TraceKeys

__all__ = ["on_new_grid", "pop_trace", "on_old_grid", "window_matrix"]


def window_matrix(seen: tuple[int, int, int, int], drawn: tuple[int, int, int, int]) -> np.ndarray:
    """Matrix of a grid that shows a window of the old one (``seen``) in a window of its own (``drawn``).

    Each is top, left, height and width on its grid, in pixels.
    """
    matrix = np.eye(3)
    for axis in (0, 1):
        step = seen[axis + 2] / drawn[axis + 2]
        matrix[axis, axis] = step
        matrix[axis, 2] = seen[axis] + (0.5 - drawn[axis]) * step - 0.5
    return matrix


def on_new_grid(
    result: torch.Tensor, source: Any, matrix: np.ndarray, transform: TraceableTransform, **extra: Any
) -> torch.Tensor:
    """Give a result ``(C, h, w)`` the metadata of its source ``(C, H, W)``, moved to the new grid, with a record of the
    move.

    ``transform`` made it and can take the record back from ``applied_operations``; ``extra`` is what :func:`pop_trace`
    shall give back. A ``MetaTensor``, ``affine`` and ``spacing`` those of the new grid; the result itself where the
    source is no ``MetaTensor`` or MONAI's ``set_track_meta(False)`` is in force.
    """
    if not isinstance(source, MetaTensor) or not get_track_meta():
        return result
    spacing = source.meta.get("spacing")
    if spacing is not None:
        extra["spacing"] = [float(side) for side in spacing]
    size, info = tuple(int(side) for side in source.shape[-2:]), transform.get_transform_info()
    record = transform.track_transform_meta(
        source, affine=torch.from_numpy(matrix), extra_info=extra, orig_size=size, transform_info=info
    )
    moved = MetaTensor(result).copy_meta_from(record)
    if spacing is not None:
        # Columns of the matrix are the new grid's steps, in pixels of the old one.
        moved.meta["spacing"] = np.linalg.norm(matrix[:2, :2] * np.reshape(extra["spacing"], (2, 1)), axis=0)
    return moved


def pop_trace(data: Any, transform: TraceableTransform) -> tuple[MetaTensor, tuple[int, int], dict[str, Any]]:
    """Take the record of a transform off a copy of the metadata of ``data``, a ``MetaTensor`` ``(C, h, w)``.

    Returned are ``data`` without the record, height and width before the transform, and what :func:`on_new_grid` kept.

    Raises:
        TypeError: no ``MetaTensor``, so there is no record.
        ValueError, RuntimeError: (from MONAI) the record is missing.
    """
    if not isinstance(data, MetaTensor):
        raise TypeError(
            f"{type(transform).__name__} cannot be inverted on a {type(data).__name__}, which holds no record of it; "
            "load images as MetaTensor (LoadCXRd does), and keep set_track_meta(True)."
        )
    # A copy of the list of records, since popping would change the caller's.
    popped = MetaTensor(data.as_tensor()).copy_meta_from(data)
    record = transform.pop_transform(popped)
    rows, columns = (int(side) for side in record[TraceKeys.ORIG_SIZE])
    return popped, (rows, columns), record[TraceKeys.EXTRA_INFO]


def on_old_grid(result: torch.Tensor, moved: MetaTensor, matrix: np.ndarray, extra: dict[str, Any]) -> MetaTensor:
    """Give what was brought back, ``(C, H, W)``, its metadata on the old grid.

    ``moved`` and ``extra`` are from :func:`pop_trace`, ``matrix`` that of the move from the old grid to the new one.
    """
    back = MetaTensor(result).copy_meta_from(moved)
    affine = moved.affine.double().cpu()
    inverse = torch.from_numpy(np.linalg.inv(matrix))
    back.affine = affine @ to_affine_nd(affine.shape[-1] - 1, inverse, dtype=torch.float64)
    if "spacing" in extra:
        back.meta["spacing"] = np.asarray(extra["spacing"], dtype=np.float64)
    return back
