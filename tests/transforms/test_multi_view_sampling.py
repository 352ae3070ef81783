# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What MultiView draws: ranges, distributions, keys, and independence from workers and their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.data import DataLoader as MonaiDataLoader
from monai.transforms import Compose, Lambdad
from monai.utils import set_determinism
from torch.utils.data import DataLoader, Dataset

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms import MultiView, MultiViewd
from monai_cxrssl.transforms.views.parameters import ViewSampler, keyed_generator

RAMP = (np.arange(48 * 40, dtype=np.uint32).reshape(1, 48, 40) % 251).astype(np.uint8)


class Films(Dataset):
    """A data set that gives every item its epoch and index, as a keyed pipeline does; unkeyed without an epoch."""

    def __init__(self, transform, epoch=None, length=16):
        self.transform, self.epoch, self.length = transform, epoch, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        item = {"image": RAMP}
        if self.epoch is not None:
            item |= {"epoch": self.epoch, "index": index}
        return self.transform(item)["image"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("shape", [(384, 384), (512, 400), (300, 420)])
def test_crop_ranges(shape):
    sampler = ViewSampler(scale=(0.2, 0.9), ratio=(0.75, 4 / 3))
    random = np.random.default_rng(0)
    views = [sampler.sample(shape, random) for _ in range(3000)]
    area = np.array([view.height * view.width for view in views])
    ratio = np.array([view.width * shape[1] / (view.height * shape[0]) for view in views])
    assert area.min() >= 0.2 - 1e-9
    assert area.max() <= 0.9 + 1e-9
    assert ratio.min() >= 0.75 - 1e-9
    assert ratio.max() <= 4 / 3 + 1e-9
    # Uniform area: its mean and its quartiles are those of U(0.2, 0.9).
    np.testing.assert_allclose(np.quantile(area, [0.25, 0.5, 0.75]), [0.375, 0.55, 0.725], atol=0.03)
    for center, side in (("center_y", "height"), ("center_x", "width")):
        low = np.array([getattr(view, center) - getattr(view, side) / 2 for view in views])
        high = np.array([getattr(view, center) + getattr(view, side) / 2 for view in views])
        assert low.min() >= -1e-9
        assert high.max() <= 1 + 1e-9
        room = np.array([1 - getattr(view, side) for view in views])
        np.testing.assert_allclose((low[room > 0.05] / room[room > 0.05]).mean(), 0.5, atol=0.03)


@pytest.mark.parametrize("shape", [(100, 900), (900, 100), (1, 50), (7, 1)])
def test_long_images_keep_the_ratio(shape):
    sampler = ViewSampler(scale=(0.8, 1.0))
    random = np.random.default_rng(0)
    for _ in range(200):
        view = sampler.sample(shape, random)
        assert 0 < view.height <= 1
        assert 0 < view.width <= 1
        assert 0.75 - 1e-9 <= view.width * shape[1] / (view.height * shape[0]) <= 4 / 3 + 1e-9


def test_whole_image_can_be_drawn():
    view = ViewSampler(scale=(1, 1), ratio=(0.5, 2)).sample((300, 200), np.random.default_rng(0))
    np.testing.assert_allclose([view.height, view.width, view.center_y, view.center_x], [1, 1, 0.5, 0.5])


def test_intensity_and_rotation_ranges():
    sampler = ViewSampler(blur_prob=0.25, blur_sigma=(0.5, 1.5), rotation_prob=0.5)
    random = np.random.default_rng(0)
    views = [sampler.sample((300, 300), random) for _ in range(4000)]
    angle = np.array([view.angle for view in views])
    assert np.abs(angle).max() <= 45
    np.testing.assert_allclose((angle != 0).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(np.abs(angle[angle != 0]).mean(), 22.5, atol=1)
    np.testing.assert_allclose(np.mean([view.flip for view in views]), 0.5, atol=0.03)
    changed = [view for view in views if view.brightness != 1]
    np.testing.assert_allclose(len(changed) / len(views), 0.8, atol=0.03)
    for name, low, high in (("brightness", 0.6, 1.4), ("contrast", 0.6, 1.4), ("gamma", 0.8, 1.25)):
        values = np.array([getattr(view, name) for view in changed])
        assert low <= values.min() < low + 0.02
        assert high - 0.02 < values.max() <= high
        np.testing.assert_allclose(np.median(values), 1, atol=0.04)
    blurs = np.array([view.blur_sigma for view in views])
    np.testing.assert_allclose((blurs > 0).mean(), 0.25, atol=0.03)
    assert blurs[blurs > 0].min() >= 0.5
    assert blurs.max() <= 1.5


def test_switching_one_option_leaves_the_others():
    full = MultiView().sample((300, 300), key=(3, 4))
    plain = MultiView(rotation_prob=0, jitter_prob=0, flip_prob=0, blur_prob=1).sample((300, 300), key=(3, 4))
    for one, other in zip(full, plain, strict=True):
        assert (one.center_y, one.center_x, one.height, one.width) == (
            other.center_y,
            other.center_x,
            other.height,
            other.width,
        )


def test_keys_give_different_draws():
    keys = [
        (seed, epoch, index, view) for seed in range(3) for epoch in range(5) for index in range(40) for view in (0, 1)
    ]
    assert len({keyed_generator(*key).random() for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [(0, -1, 0, 0), (2**32, 0, 0, 0)])
def test_refused_keys(key):
    with pytest.raises(ConfigurationError, match="random key"):
        keyed_generator(*key)


def test_key_decides_alone():
    first, second = MultiView(size=24), MultiView(size=24)
    first.set_random_state(1)
    second(RAMP)
    assert torch.equal(first(RAMP, key=(2, 7)), second(RAMP, key=(2, 7)))
    assert not torch.equal(first(RAMP, key=(2, 7)), first(RAMP, key=(3, 7)))
    assert not torch.equal(first(RAMP, key=(2, 7)), first(RAMP, key=(2, 8)))
    assert not torch.equal(first(RAMP, key=(2, 7)), MultiView(size=24, seed=1)(RAMP, key=(2, 7)))


def test_views_are_numbered():
    transform = MultiView(size=24, num_views=3)
    together = transform(RAMP, key=(0, 0))
    assert len({view.numpy().tobytes() for view in together}) == 3
    for number in range(3):
        assert torch.equal(transform(RAMP, key=(0, 0), views=[number])[0], together[number])


def test_random_state_without_a_key():
    transform = MultiView(size=24).set_random_state(5)
    first, second = transform(RAMP), transform(RAMP)
    assert not torch.equal(first, second)
    assert torch.equal(first, MultiView(size=24).set_random_state(5)(RAMP))


def _draws(loader):
    return [view.numpy().tobytes() for batch in loader for item in batch for view in item]


@pytest.mark.parametrize("loader_class", [DataLoader, MonaiDataLoader])
def test_keyed_draws_do_not_depend_on_workers(loader_class):
    transform = MultiViewd(keys="image", size=16)
    runs = {
        workers: [_draws(loader_class(Films(transform, epoch), batch_size=4, num_workers=workers)) for epoch in (0, 1)]
        for workers in (0, 1, 4)
    }
    assert runs[0] == runs[1] == runs[4]
    first, second = runs[0]
    assert len(set(first) | set(second)) == len(first) + len(second) == 64


@pytest.mark.parametrize("loader_class", [DataLoader, MonaiDataLoader])
@pytest.mark.parametrize("seeded", [True, False])
def test_unkeyed_draws_are_unique_in_workers(loader_class, seeded):
    transform = MultiViewd(keys="image", size=16)
    if seeded:
        transform.set_random_state(0)
    loader = loader_class(Films(transform), batch_size=4, num_workers=4)
    draws = _draws(loader) + _draws(loader)
    assert len(set(draws)) == len(draws) == 64


def test_compose_and_cache_dataset():
    items = [{"image": RAMP, "epoch": 0, "index": index} for index in range(4)]
    calls = []
    compose = Compose([Lambdad("image", func=lambda image: calls.append(1) or image), MultiViewd("image", size=16)])
    dataset = CacheDataset(items, compose, progress=False, num_workers=None)
    assert dataset[1]["image"].shape == (2, 1, 16, 16)
    assert torch.equal(dataset[1]["image"], dataset[1]["image"])
    assert len(calls) == 4  # cached up to the random transform, and no further
    unkeyed = Compose([MultiViewd("image", size=16)])
    first = unkeyed.set_random_state(9)({"image": RAMP})["image"]
    assert torch.equal(first, unkeyed.set_random_state(9)({"image": RAMP})["image"])


def test_set_determinism_reaches_monai_loader():
    runs = []
    for _ in range(2):
        set_determinism(3)
        loader = MonaiDataLoader(Films(MultiViewd("image", size=16)), batch_size=4, num_workers=2)
        runs.append(_draws(loader))
    set_determinism(None)
    assert runs[0] == runs[1]


def test_dictionary_shares_the_draw():
    mask = (RAMP > 120).astype(np.uint8)
    options = {"size": 32, "jitter_prob": 0.0}
    item = {"image": RAMP, "other": RAMP, "mask": mask, "epoch": torch.tensor(1), "index": np.int64(3), "label": 1}
    result = MultiViewd(keys=["image", "other"], mask_keys="mask", **options)(item)
    assert torch.equal(result["image"], result["other"])
    assert result["mask"].dtype == torch.uint8
    assert result["label"] == 1
    transform = MultiView(**options)
    views = transform.sample((48, 40), key=(1, 3))
    assert torch.equal(result["image"], transform.apply(RAMP, views))
    assert torch.equal(result["mask"], transform.apply_mask(mask, views))
    assert item["image"] is RAMP


@pytest.mark.parametrize(
    ("item", "options", "error", "says"),
    [
        ({"picture": RAMP}, {}, KeyError, "no 'image'"),
        ({"image": RAMP, "epoch": 1}, {}, ConfigurationError, "not both"),
        ({"image": RAMP, "mask": RAMP[:, :10]}, {"mask_keys": "mask"}, ValueError, "image 48 x 40, mask 10 x 40"),
        ({"image": RAMP[0]}, {}, ValueError, r"\(48, 40\)"),
    ],
)
def test_refused_items(item, options, error, says):
    with pytest.raises(error, match=says):
        MultiViewd(keys="image", size=16, **options)(item)


def test_optional_keys():
    result = MultiViewd("image", mask_keys="mask", allow_missing_keys=True, key_from=None, size=16)(
        {"image": RAMP, "epoch": 1}
    )
    assert result["image"].shape == (2, 1, 16, 16)
    with pytest.raises(ConfigurationError, match="key_from"):
        MultiViewd("image", key_from=["epoch"])
