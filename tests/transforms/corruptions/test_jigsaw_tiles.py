# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.corruptions.jigsaw_tiles import cut_tiles, permutation_set


def coordinates(size: int, rows: int, columns: int) -> torch.Tensor:
    """Images whose three channels tell the sample, the row and the column of every pixel."""
    sample, y, x = torch.meshgrid(torch.arange(size), torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([sample, y, x], dim=1).float()


@pytest.mark.parametrize(("shape", "grid", "tile"), [((66, 66), 3, 18), ((47, 80), 2, 20), ((30, 31), 3, 10)])
def test_tiles_are_pieces_of_their_cells(shape, grid, tile):
    tiles = cut_tiles(coordinates(40, *shape), grid, tile, torch.Generator().manual_seed(0))
    assert tiles.shape == (40, grid * grid, 3, tile, tile)
    cell = (shape[0] // grid, shape[1] // grid)
    starts = {axis: set() for axis in (0, 1)}
    for sample, number in itertools.product(range(40), range(grid * grid)):
        piece = tiles[sample, number]
        assert piece[0].eq(sample).all()
        for axis, place in ((0, number // grid), (1, number % grid)):
            first = int(piece[1 + axis].min()) - place * cell[axis]
            starts[axis].add(first)
            assert 0 <= first <= cell[axis] - tile
            ramp = torch.arange(tile) + place * cell[axis] + first
            assert piece[1 + axis].eq(ramp[:, None] if axis == 0 else ramp[None]).all()
    for axis in (0, 1):
        assert starts[axis] == set(range(cell[axis] - tile + 1))


def test_a_tile_larger_than_its_cell():
    with pytest.raises(ConfigurationError, match="does not fit into the 21 x 21 px cells"):
        cut_tiles(torch.zeros(1, 1, 64, 64), 3, 22)


def smallest_distance(permutations: torch.Tensor) -> int:
    distance = (permutations[:, None] != permutations[None]).sum(-1)
    return int(distance.fill_diagonal_(permutations.shape[1] + 1).min())


@pytest.mark.parametrize(
    ("tiles", "count", "least"), [(9, 9, 9), (9, 60, 7), (9, 100, 6), (9, 500, 5), (4, 4, 4), (4, 24, 2)]
)
def test_permutations_are_far_apart(tiles, count, least):
    found = permutation_set(tiles, count, seed=1)
    assert found.shape == (count, tiles)
    assert found.dtype == torch.int64
    assert torch.equal(found.sort(dim=1).values, torch.arange(tiles).expand(count, -1))
    assert smallest_distance(found) >= least


def test_each_permutation_is_a_best_one():
    """The greedy rule itself, by brute force over all permutations of four tiles."""
    every = torch.tensor(list(itertools.permutations(range(4))))
    found = permutation_set(4, 24, seed=3)
    for count in range(1, 24):
        nearest = (every[:, None] != found[None, :count]).sum(-1).amin(1)
        assert int((found[:count] != found[count]).sum(1).min()) == int(nearest.max())


def test_permutations_are_those_of_the_seed():
    assert torch.equal(permutation_set(9, 20, 5), permutation_set(9, 20, 5))
    assert not torch.equal(permutation_set(9, 20, 5), permutation_set(9, 20, 6))
    # A longer set begins with the shorter one.
    assert torch.equal(permutation_set(9, 30, 5)[:20], permutation_set(9, 20, 5))


@pytest.mark.parametrize(("tiles", "count"), [(10, 5), (1, 1), (4, 25), (9, 1)])
def test_sets_that_cannot_be(tiles, count):
    with pytest.raises(ConfigurationError, match="tiles"):
        permutation_set(tiles, count)
