# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import GroupMask, GroupMaskd
from monai_cxrssl.transforms.corruptions.group_mask import draw_blocks, largest_sides


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def films(size: int = 24, side: int = 64, channels: int = 1) -> torch.Tensor:
    return torch.rand(size, channels, side, side, generator=seeded(99))


def rounded_up(side: int, largest: float) -> int:
    """Greatest side of a group in cells: at least two where there are two."""
    return min(side, max(2, math.ceil(side * largest - 1e-6)))


def sequential_share(grid, target, largest, rng) -> float:
    """Rectangles of at least two cells one after the other, as the paper words it."""
    covered = np.zeros(grid, bool)
    while covered.mean() < target:
        height = width = 1
        while height * width < 2:
            height, width = (rng.integers(1, rounded_up(side, largest) + 1) for side in grid)
        top, left = rng.integers(grid[0] - height + 1), rng.integers(grid[1] - width + 1)
        covered[top : top + height, left : left + width] = True
    return float(covered.mean())


@pytest.mark.parametrize(
    ("side", "patch", "target", "largest"),
    [
        (224, 16, 0.5, 0.3),
        (224, 16, 0.75, 0.3),
        (64, 8, 0.6, 0.3),
        (64, 16, 0.5, 0.3),
        (64, 1, 0.7, 0.3),
        (64, 16, 1.0, 0.3),
        (96, 8, 0.95, 0.1),
        (64, 16, 0.01, 1.0),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "alien"])
def test_the_share_is_reached_by_less_than_one_block_more(side, patch, target, largest, kind):
    shares = {"alien_prob": float(kind == "alien"), "alien_fraction": target, "fraction": (target, target)}
    transform = GroupMask(patch_size=patch, largest_block=largest, **shares)
    _, mask = transform(films(16, side), seeded())
    block = rounded_up(side // patch, largest) * patch / side
    share = mask.float().mean((1, 2, 3))
    assert (share >= target - 1e-6).all()
    assert (share < min(target + block**2, 1 + 1e-6)).all()
    cells = mask.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    assert torch.equal(cells.any(3).any(-1), cells.all(3).all(-1)), "blocks keep to the patch grid"


def test_default_shares_are_uniform_for_noise_and_fixed_for_aliens():
    batch = films(2000, 56)
    noise = GroupMask(patch_size=4, alien_prob=0)(batch, seeded())[1].float().mean((1, 2, 3))
    # A sample overshoots by a part of one block, 2 to 3 % of the image on average.
    assert stats.kstest(noise.numpy(), stats.uniform(0.515, 0.25).cdf).statistic < 0.05
    share = GroupMask(patch_size=4)(batch, seeded())[1].float().mean((1, 2, 3))
    assert 0.47 < (share < 0.4).float().mean() < 0.53
    assert (share >= 0.3 - 1e-6).all()


def test_shares_agree_with_rectangles_drawn_one_after_the_other():
    rng = np.random.default_rng(0)
    expected = [round(196 * sequential_share((14, 14), 0.6, 0.3, rng)) for _ in range(600)]
    found = draw_blocks((14, 14), torch.full((600,), 0.6), 0.3, seeded(), 0.6).sum((1, 2))
    assert stats.ks_2samp(expected, found.numpy()).pvalue > 0.01


SIDES = [(side // 16, side // 16) for side in (64, 96, 112, 128, 160, 224, 256)]


@pytest.mark.parametrize("grid", [*SIDES, (20, 11), (4, 14), (1, 4), (7, 1), (1, 2), (2, 1)])
def test_groups_are_rectangles_of_two_cells_up_to_the_largest_size_rounded_up(grid):
    """A target that one cell meets shows the first rectangle alone."""
    found = draw_blocks(grid, torch.full((2000,), 1e-9), 0.3, seeded())
    heights, widths = found.any(2).sum(1), found.any(1).sum(1)
    assert torch.equal(found.sum((1, 2)), heights * widths)
    assert all(ndimage.label(sample)[1] == 1 for sample in found.numpy()[:20])
    highest, widest = (rounded_up(side, 0.3) for side in grid)
    assert largest_sides(grid, 0.3) == (highest, widest)
    sizes, counts = torch.stack([heights, widths], 1).unique(dim=0, return_counts=True)
    pairs = [(height, width) for height in range(1, highest + 1) for width in range(1, widest + 1)]
    assert [tuple(size) for size in sizes.tolist()] == pairs[1:], "every size but the single cell"
    if len(pairs) > 2:
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("grid", [*SIDES, (4, 14), (9, 6)])
@pytest.mark.parametrize("target", [0.3, 0.4, 0.6, 0.75])
def test_the_share_is_within_one_block_at_any_size(grid, target):
    share = draw_blocks(grid, torch.full((400,), target), 0.3, seeded(), target).float().mean((1, 2))
    block = math.prod(rounded_up(side, 0.3) for side in grid) / math.prod(grid)
    assert (share >= target - 1e-6).all()
    assert (share < target + block).all()


@pytest.mark.parametrize(("side", "told"), [(16, True), (32, False)])
def test_single_cells_are_told_once(side, told, caplog):
    transform = GroupMask(patch_size=16)
    for _ in range(2):
        _, mask = transform(films(3, side), seeded())
        assert mask.flatten(1).any(1).all()
    assert caplog.text.count("cannot be larger than one patch: the image has 1 x 1") == int(told)


@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_blocks_change(channels):
    batch = films(channels=channels)
    before = batch.clone()
    corrupted, mask = GroupMask(patch_size=8)(batch, seeded())
    assert mask.dtype is torch.bool
    assert mask.shape == (24, 1, 64, 64)
    # Random pixels of two images practically never agree, so the mask is the set of changed pixels.
    assert torch.equal(corrupted != batch, mask.expand_as(batch))
    assert torch.equal(batch, before)


def test_aliens_come_from_one_other_image_at_the_same_place():
    batch = films(6)
    donors = set()
    for seed in range(20):
        corrupted, mask = GroupMask(patch_size=8, alien_prob=1)(batch, seeded(seed))
        for number in range(6):
            fits = [k for k in range(6) if torch.equal(corrupted[number][mask[number]], batch[k][mask[number]])]
            assert len(fits) == 1
            assert fits[0] != number
            donors.add((number, fits[0]))
    assert len(donors) == 30, "every other image is a donor some time"


def test_a_batch_of_one_gets_noise():
    corrupted, mask = GroupMask(patch_size=8, alien_prob=1)(films(1), seeded())
    assert 0.5 <= mask.float().mean() < 0.85
    assert torch.isfinite(corrupted).all()
    assert (corrupted[mask] != films(1)[mask]).all()


def test_noise_is_normal_around_the_mean_of_the_intensities():
    corrupted, mask = GroupMask(patch_size=8, alien_prob=0)(films(), seeded())
    values = (corrupted[mask][:20000].double() - 0.5) / 0.25
    assert stats.kstest(values.numpy(), "norm").pvalue > 0.01


def test_the_generator_decides():
    transform, batch = GroupMask(patch_size=8), films()
    one, same, other = (transform(batch, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[1], other[1])


def test_half_precision_stays():
    assert GroupMask(patch_size=8)(films().bfloat16(), seeded())[0].dtype is torch.bfloat16


@pytest.mark.parametrize(
    "options",
    [
        {"patch_size": 0},
        {"fraction": (0.8, 0.5)},
        {"fraction": (0.0, 0.5)},
        {"largest_block": 0},
        {"alien_prob": 1.5},
        {"alien_fraction": 0},
        {"noise_std": 0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        GroupMask(**options)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.zeros(2, 1, 60, 64), "multiple of the patch size"),
        (torch.zeros(1, 64, 64), "expected floating-point"),
        (torch.zeros(2, 1, 64, 64, dtype=torch.uint8), "expected floating-point"),
    ],
)
def test_batches_that_do_not_fit(batch, said):
    with pytest.raises(ConfigurationError, match=said):
        GroupMask()(batch)


def test_dictionary_form_corrupts_as_the_batch_form_does():
    """One image on the CPU, and the same image as a batch: the same blocks from the same seed."""
    item = {"image": films(1, 96)[0], "other": films(2, 96)[1]}
    one = GroupMaskd("image", alien_key="other", alien_prob=0.5).set_random_state(7)
    seed = int(np.random.RandomState(7).randint(2**31, dtype="int64"))
    corrupted, mask = GroupMask()(item["image"][None], seeded(seed), item["other"][None])
    found = one(item)
    assert torch.equal(found["image"], corrupted[0])
    assert torch.equal(found["image_mask"], mask[0])


def test_dictionary_form():
    item = {"image": films(1)[0], "other": films(2)[1], "label": 1}
    noise = GroupMaskd("image", patch_size=8, alien_prob=1).set_random_state(0)
    first, second = noise(item), noise(item)
    assert first["label"] == 1
    assert not torch.equal(first["image_mask"], second["image_mask"])
    assert torch.equal(noise.set_random_state(0)(item)["image"], first["image"])
    assert torch.equal(first["image"] != item["image"], first["image_mask"])
    assert first["image_mask"].float().mean() >= 0.5
    alien = GroupMaskd("image", alien_key="other", patch_size=8, alien_prob=1).set_random_state(0)(item)
    assert torch.equal(alien["image"], torch.where(alien["image_mask"], item["other"], item["image"]))
    with pytest.raises(KeyError):
        GroupMaskd("absent")(item)
    assert GroupMaskd("absent", allow_missing_keys=True)(item).keys() == item.keys()
