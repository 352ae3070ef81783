# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images of different sizes on one grid: each gives the views that it gives alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_cxrssl.data.sampling.deferred_views import stack_films
from monai_cxrssl.transforms import MultiView, stack_views
from monai_cxrssl.transforms.views.batch import warp_batch

SIZES = [(96, 77), (131, 100), (160, 160), (64, 203)]


def films(dtype=np.uint8):
    draws = np.random.default_rng(3)
    # Bright to the very edge, so that a neighbour's pixel beyond it would be seen.
    smooth = [
        np.kron(draws.uniform(0.3, 1, (rows // 8 + 1, columns // 8 + 1)), np.ones((8, 8))) for rows, columns in SIZES
    ]
    cut = [plane[:rows, :columns] for plane, (rows, columns) in zip(smooth, SIZES, strict=True)]
    return [np.rint(plane * np.iinfo(dtype).max).astype(dtype) for plane in cut]


def drawn(transform, planes):
    return [transform.sample(plane.shape, key=(2, number)) for number, plane in enumerate(planes)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [80, 24, [30, 17]])  # no reduction, one, and two or three
@pytest.mark.parametrize("fill", [0.0, 0.3])
def test_each_film_gives_the_views_that_it_gives_alone(dtype, size, fill):
    planes = films(dtype)
    transform = MultiView(size=size, num_views=4, scale=(0.5, 1.0), blur_prob=0.3, fill=fill)
    views = drawn(transform, planes)
    stacked = stack_films(planes)
    together = transform.apply_batch(stacked, views, torch.tensor(SIZES))
    for row, plane in enumerate(planes):
        alone = transform.apply_batch(torch.from_numpy(plane)[None, None], [views[row]])[0]
        torch.testing.assert_close(together[row], alone, atol=2e-4, rtol=0)
        difference = (together[row] - transform.apply(plane[None], views[row])).abs().flatten()
        assert difference.mean() < 0.005
        assert difference.quantile(0.99) < 0.04


def test_what_lies_beyond_a_film_is_never_shown():
    planes = films()
    transform = MultiView(size=80, num_views=6, scale=(0.5, 1.0))
    views = drawn(transform, planes)
    stacked, sizes = stack_films(planes), torch.tensor(SIZES)
    spoilt = stacked.clone()
    for plane, (rows, columns) in zip(spoilt[:, 0], SIZES, strict=True):
        plane[rows:], plane[:, columns:] = 255, 255
    assert torch.equal(transform.apply_batch(stacked, views, sizes), transform.apply_batch(spoilt, views, sizes))


def test_masks_of_different_sizes():
    planes = [(plane > 140).astype(np.uint8) for plane in films()]
    transform = MultiView(size=40, num_views=3)
    views = drawn(transform, planes)
    together = warp_batch(stack_films(planes), views, transform.size, nearest=True, shapes=torch.tensor(SIZES))
    for row, plane in enumerate(planes):
        alone = transform.apply_mask_batch(torch.from_numpy(plane)[None, None], [views[row]])[0]
        assert (together[row] != alone).float().mean() < 0.002


@pytest.mark.parametrize("sizes", [torch.ones(3, 2, dtype=torch.int64), torch.ones(4, 2), torch.ones(4).long()])
def test_sizes_that_do_not_fit(sizes):
    transform = MultiView(size=16)
    with pytest.raises(ValueError, match=r"expected whole numbers \(4, 2\)"):
        transform.apply_batch(stack_films(films()), drawn(transform, films()), sizes)


def test_nothing_waits_for_the_device(monkeypatch):
    planes = films()
    transform = MultiView(size=24, num_views=2, blur_prob=0.5, fill=0.1)
    views, stacked, sizes = stack_views(drawn(transform, planes)), stack_films(planes), torch.tensor(SIZES)
    with monkeypatch.context() as patched:
        for asked in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy", "cpu"):
            patched.setattr(torch.Tensor, asked, lambda *args, **options: pytest.fail("the device was asked"))
        transform.apply_batch(stacked, views, sizes)
