# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Jigsaw tiles and their permutations."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError

__all__ = ["cut_tiles", "permutation_set"]


def cut_tiles(images: Tensor, grid: int, tile: int, generator: torch.Generator | None = None) -> Tensor:
    """Cut images into cells, and one square tile at a random place out of each: ``(B, grid * grid, C, tile, tile)``,
    row by row.

    The gap between neighbouring tiles, which differs from tile to tile, keeps a network from solving the puzzle by
    continuing edges (Noroozi & Favaro 2016, arXiv 1603.09246, section 4.2).

    Args:
        images: ``(B, C, H, W)``.
        grid, tile: cells along either side; side of a tile in pixels, at most that of a cell (``H // grid`` and
            ``W // grid``), else a ConfigurationError.
        generator: what to draw from, on the device of the images.
    """
    size, _, rows, columns = images.shape
    cell_y, cell_x = rows // grid, columns // grid
    if not 1 <= tile <= min(cell_y, cell_x):
        raise ConfigurationError(
            f"A tile of {tile} px does not fit into the {cell_x} x {cell_y} px cells of a {columns} x {rows} px image."
        )
    device = images.device
    number = torch.arange(grid * grid, device=device)
    slack = torch.tensor([cell_y - tile + 1, cell_x - tile + 1], device=device)
    random = torch.rand(size, grid * grid, 2, device=device, generator=generator)
    # rand may round up to 1 once multiplied.
    offset = torch.minimum((random * slack).long(), slack - 1)
    pixel = torch.arange(tile, device=device)
    y = ((number // grid) * cell_y + offset[..., 0])[..., None] + pixel
    x = ((number % grid) * cell_x + offset[..., 1])[..., None] + pixel
    sample = torch.arange(size, device=device)[:, None, None, None]
    return images.movedim(1, -1)[sample, y[..., :, None], x[..., None, :]].movedim(-1, 2)


@lru_cache(maxsize=4)
def _spread_permutations(tiles: int, count: int, seed: int) -> np.ndarray:
    columns = np.array(list(itertools.permutations(range(tiles))), dtype=np.uint8)
    # Ties are broken by the order of the candidates, so shuffling these makes the seed matter.
    columns = np.ascontiguousarray(np.random.default_rng([seed, tiles]).permutation(columns).T)
    nearest = np.full(columns.shape[1], tiles + 1, dtype=np.uint8)
    chosen = []
    for _ in range(count):
        best = int(nearest.argmax())
        chosen.append(columns[:, best].copy())
        # Column by column: whole rows of bytes are compared at once, some ten times faster than permutation by
        # permutation.
        distance = np.zeros_like(nearest)
        for column, value in zip(columns, chosen[-1], strict=True):
            distance += column != value
        np.minimum(nearest, distance, out=nearest)
    found = np.stack(chosen)
    found.flags.writeable = False
    return found


def permutation_set(tiles: int, count: int, seed: int = 0) -> Tensor:
    """Choose permutations that differ in as many places as possible: int64 ``(count, tiles)``, equal for equal
    arguments.

    One after the other, always one whose smallest Hamming distance to those already chosen is largest (greedy, over all
    permutations). The paper maximises the mean distance instead; the smallest one leaves no near twins.

    Args:
        tiles, count: number of tiles, 2 to 9, and of permutations, at most ``tiles!``; else a ConfigurationError.
        seed: of the choice among equally good ones.
    """
    if not 2 <= tiles <= 9:
        raise ConfigurationError(f"A jigsaw puzzle has 2 to 9 tiles here, not {tiles!r}.")
    if not 2 <= count <= math.factorial(tiles):
        raise ConfigurationError(
            f"{tiles} tiles have {math.factorial(tiles)} permutations; {count!r} were asked for, expected 2 or more of "
            "them."
        )
    return torch.from_numpy(_spread_permutations(int(tiles), int(count), int(seed)).astype(np.int64))
