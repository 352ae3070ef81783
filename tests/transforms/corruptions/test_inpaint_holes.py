# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import InpaintHoles, InpaintHolesd


def images(size: int = 6, shape: tuple[int, int] = (40, 60), channels: int = 1) -> torch.Tensor:
    return 0.1 + 0.8 * torch.rand(size, channels, *shape, generator=torch.Generator().manual_seed(0))


def lungs(size: int = 6, shape: tuple[int, int] = (40, 60)) -> torch.Tensor:
    mask = torch.zeros(size, 1, *shape, dtype=torch.uint8)
    mask[:, :, 10:30, 10:20] = 1
    mask[:, :, 10:30, 40:50] = 1
    return mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.float32])
def test_the_mask_marks_exactly_the_changed_pixels(channels, fill, kind):
    before = images(channels=channels)
    after, mask = InpaintHoles(fill=fill)(before, lungs().to(kind), seeded())
    assert mask.dtype == torch.bool
    assert mask.shape == (6, 1, 40, 60)
    assert torch.equal(after != before, mask.expand_as(before))
    assert after[mask.expand_as(after)].eq(fill).all()
    torch.testing.assert_close(before, images(channels=channels))


@pytest.mark.parametrize("size", [(0.15, 0.35), (0.2, 0.2), (0.001, 0.001), (1.0, 1.0)])
def test_holes_are_rectangles_of_the_size_asked_for(size):
    _, mask = InpaintHoles(holes=1, hole_size=size)(images(200), lungs(200), seeded())
    for hole in mask[:, 0]:
        rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
        height, width = len(rows), len(columns)
        assert int(hole.sum()) == height * width == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        for length, side in ((height, 40), (width, 60)):
            # Whole pixels around a centre pixel: at most one more than asked for.
            assert 1 <= length <= max(1, size[1] * side + 1)
            # Cut by the border to no less than half.
            assert length >= min(size[0] * side, side) / 2 - 1


def test_centres_are_uniform_over_the_lungs():
    mask = lungs(1)
    one = InpaintHoles(holes=1, hole_size=(0.001, 0.001))
    drawn = torch.cat([one.draw(mask.expand(4000, -1, -1, -1), seeded(n)) for n in range(5)])[:, 0]
    assert drawn.flatten(1).sum(1).eq(1).all()
    counts = drawn.sum(0).double()
    assert counts[mask[0, 0] == 0].sum() == 0
    expected = len(drawn) / int(mask.sum())
    inside = counts[mask[0, 0] == 1]
    # Chi-square with 399 degrees of freedom: mean 399, standard deviation 28.
    assert 399 - 5 * 28 < float(((inside - expected) ** 2 / expected).sum()) < 399 + 5 * 28


def test_every_sample_has_its_own_lungs():
    mask = torch.zeros(3, 1, 40, 60)
    mask[0, 0, 5, 7] = mask[1, 0, 30, 50] = 1
    holes = InpaintHoles(holes=2, hole_size=(0.001, 0.001)).draw(mask, seeded())
    assert holes[0, 0].nonzero().tolist() == [[5, 7]]
    assert holes[1, 0].nonzero().tolist() == [[30, 50]]
    # No lung in view: anywhere.
    assert 1 <= int(holes[2].sum()) <= 2


def test_the_seed_decides():
    transform, data = InpaintHoles(), (images(), lungs())
    assert torch.equal(transform(*data, seeded(3))[1], transform(*data, seeded(3))[1])
    assert not torch.equal(transform(*data, seeded(3))[1], transform(*data, seeded(4))[1])
    first = InpaintHoles().set_random_state(5)
    again = InpaintHoles().set_random_state(5)
    one, other = first(*data)[1], first(*data)[1]
    assert not torch.equal(one, other)
    assert torch.equal(again(*data)[1], one)


def test_one_sample():
    after, mask = InpaintHoles()(images(1)[0], lungs(1)[0], seeded())
    assert (after.shape, mask.shape) == ((1, 40, 60), (1, 40, 60))


def test_dictionary_form():
    data = {"image": images(), "clean": images() + 0.05, "lung_mask": lungs(), "patient": 7}
    result = InpaintHolesd(["image", "clean"], fill=1.0).set_random_state(2)(data)
    for key in ("image", "clean"):
        assert torch.equal(result[key] != data[key], result["hole_mask"])
    assert result["patient"] == 7
    assert "hole_mask" not in data
    with pytest.raises(KeyError, match="'lung_mask'"):
        InpaintHolesd("image")({"image": images()})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"holes": 0}, "holes is 0"),
        ({"holes": 1.5}, "holes is 1.5"),
        ({"hole_size": (0.3, 0.1)}, "hole_size"),
        ({"hole_size": (0.0, 0.1)}, "hole_size"),
        ({"hole_size": (0.2, 1.1)}, "hole_size"),
        ({"fill": 2}, "fill is 2"),
    ],
)
def test_options_out_of_range(options, word):
    with pytest.raises(ConfigurationError, match=word):
        InpaintHoles(**options)


@pytest.mark.parametrize("shape", [(6, 1, 40, 50), (5, 1, 40, 60), (6, 40, 60)])
def test_masks_of_another_grid(shape):
    with pytest.raises(ConfigurationError, match="lung masks"):
        InpaintHoles()(images(), torch.ones(shape))
