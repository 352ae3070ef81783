# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import Jigsaw
from monai_cxrssl.networks import Encoder


def images(size: int = 4, side: int = 64) -> torch.Tensor:
    return torch.rand(size, 1, side, side, generator=torch.Generator().manual_seed(0))


def build(encoder_name: str = "resnet18", **options) -> Jigsaw:
    torch.manual_seed(0)
    return Jigsaw(Encoder(encoder_name), **{"permutations": 12, "tile_channels": 16, "hidden_channels": 32, **options})


@pytest.mark.parametrize(("grid", "side"), [(2, 64), (3, 96)])
def test_tiles_are_those_of_the_permutation(grid, side):
    """Every cell has a pattern of its own that survives cropping and normalisation: stripes of its own period."""
    x = torch.arange(side).float()
    cell = side // grid
    data = torch.zeros(3, 1, side, side)
    for number in range(grid * grid):
        rows = slice(number // grid * cell, (number // grid + 1) * cell)
        columns = slice(number % grid * cell, (number % grid + 1) * cell)
        data[:, :, rows, columns] = (x % (number + 2) == 0).float()[columns]
    method = build(grid=grid, tile_crop=1.0)
    tiles, order = method.shuffle(data)
    assert tiles.shape == (3, grid * grid, 1, cell, cell)
    for sample in range(3):
        for place, number in enumerate(method.permutations[order[sample]].tolist()):
            columns = slice(number % grid * cell, (number % grid + 1) * cell)
            bright = tiles[sample, place, 0, 0] > 0.5
            assert torch.equal(bright, x[columns] % (number + 2) == 0)


def test_brightness_and_contrast_of_a_tile_tell_nothing():
    data = images(3, 96) * torch.linspace(0.1, 1, 96)
    tiles, _ = build().shuffle(data)
    torch.testing.assert_close(tiles.mean(dim=(2, 3, 4)), torch.full((3, 9), 0.5), atol=0.02, rtol=0)
    black = build().shuffle(torch.zeros(1, 1, 96, 96))[0]
    assert black.eq(0.5).all()
    plain = build(tile_crop=1.0).shuffle(data)[0]  # 32 px, not resized
    torch.testing.assert_close(plain.std(dim=(2, 3, 4), correction=0), torch.full((3, 9), 0.25))


@pytest.mark.parametrize(
    ("encoder_name", "side", "tile"),
    [("resnet18", 64, 32), ("tu-vit_tiny_patch16_224", 64, 32), ("tu-vit_tiny_patch16_224", 57, 16)],
)
def test_tiles_fit_the_encoder(encoder_name, side, tile):
    method = build(encoder_name)
    assert method.shuffle(images(2, side))[0].shape == (2, 9, 1, tile, tile)
    output = method({"image": images(2, side)[:, None]})
    assert output["embedding"].shape == (18, method.network.out_channels)
    assert output["loss"].isfinite()


def test_small_images_are_refused():
    with pytest.raises(ConfigurationError, match=r"56 x 56 px .* 3 x 3 tiles of 15 px.* to 57 or more"):
        build().shuffle(images(1, 56))


def test_it_learns_a_puzzle():
    method = build(grid=2, permutations=4).train()
    optimizer = torch.optim.AdamW(method.parameters(), 1e-3)
    data = images(8, 64) * 0.2
    # Stripes: lying, standing, wide, none.
    data[:, :, 0:32:4, :32] += 0.8
    data[:, :, :32, 32::4] += 0.8
    data[:, :, 32:48, :32] += 0.8
    for _ in range(30):
        optimizer.zero_grad()
        output = method({"image": data[:, None]})
        output["loss"].backward()
        optimizer.step()
    assert output["accuracy"].item() > 0.9
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_the_checkpoint_keeps_the_permutations_and_the_draws(tmp_path):
    first, again = build(seed=1), build(seed=2)
    assert not torch.equal(first.permutations, again.permutations)
    first.shuffle(images())
    torch.save(first.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(first.permutations, again.permutations)
    again.seed = 1
    for one, other in zip(first.shuffle(images()), again.shuffle(images()), strict=True):
        assert torch.equal(one, other)


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = build()({"image": images()[:, None]})
    assert output["loss"].dtype == torch.float32
    assert output["loss"].isfinite()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"grid": 4}, "grid is 4"),
        ({"tile_crop": 0.0}, "tile_crop is 0.0"),
        ({"tile_crop": 1.5}, "tile_crop is 1.5"),
        ({"grid": 2, "permutations": 25}, "24 permutations; 25"),
    ],
)
def test_options_out_of_range(options, word):
    with pytest.raises(ConfigurationError, match=word):
        build(**options)
