# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The samples of pretraining: the right images, keyed views, the same in any worker."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monai_cxrssl.data.sampling.bags import Draw, PairSampler, patient_bags
from monai_cxrssl.data.sampling.pretext import ImageDataset, PairDataset
from monai_cxrssl.data.sampling.view_transform import DrawnViewTransform, ViewTransform
from monai_cxrssl.data.stores.decoded import DecodedImages
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.views.multi_view import MultiView

PATIENTS = ["a", "b", "a", "c", "b", "a"]


def read_level(path):
    """An image of one grey level, telling which file it is, but for one pixel."""
    image = np.full((48, 40), 20 * (int(path) + 1), np.uint8)
    image[0, 0] += 1
    return image


def read_noise(path):
    return np.random.default_rng(int(path)).integers(0, 256, (48, 40), dtype=np.uint8)


def decode(reader, labels=None):
    items = [{"image": str(n), "patient_id": patient, "study_id": str(n)} for n, patient in enumerate(PATIENTS)]
    for item, label in zip(items, labels or (), strict=False):
        item["label"] = label
    return DecodedImages(items, side=40, reader=reader, progress=False)


def show(image, key, views=(0, 1)):
    """A transform that draws nothing: each view is filled with (level, epoch, position, view)."""
    level = int(np.median(image))
    return torch.stack([torch.tensor([level, *key, view]).reshape(1, 2, 2) for view in views])


class Views:
    """A transform of the user's own that tells how many views it draws."""

    num_views = 3

    def __call__(self, image, key=None, views=None):
        return show(image, key, range(3) if views is None else views)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (Draw(3, 8, 2, 2, 0), [[60, 3, 8, 0], [60, 3, 8, 1]]),
        (Draw(3, 8, 2, 5, 0), [[60, 3, 8, 0], [120, 3, 8, 1]]),
        (Draw(4, 9, 5, 2, 0), [[120, 4, 9, 0], [60, 4, 9, 1]]),
        (4, [[100, 0, 4, 0], [100, 0, 4, 1]]),
        (np.int64(4), [[100, 0, 4, 0], [100, 0, 4, 1]]),
    ],
)
def test_pairs_and_keys(draw, expected):
    sample = PairDataset(decode(read_level), show)[draw]
    assert sample["image"].shape == (2, 1, 2, 2)
    assert sample["image"].flatten(1).tolist() == expected
    if isinstance(draw, Draw):
        assert (sample["index"], sample["first"], sample["second"]) == draw[1:4]
    assert sample["patient"] == [0, 1, 0, 2, 1, 0][sample["first"]]


def test_data_is_shown_as_monai_does():
    images = decode(read_level)
    assert PairDataset(images, show).data is images.items
    assert PairDataset(images, show, data=[{}]).data == [{}]
    assert len(PairDataset(images, show)) == 6


def test_views_equal_those_of_the_key():
    images = decode(read_noise)
    transform = MultiView(size=24, seed=5)
    dataset = PairDataset(images, transform)
    pair = dataset[Draw(2, 7, 0, 5, 0)]["image"]
    assert torch.equal(pair[0], transform(images.image(0)[None], key=(2, 7))[0])
    assert torch.equal(pair[1], transform(images.image(5)[None], key=(2, 7))[1])
    same = dataset[Draw(2, 7, 0, 0, 0)]["image"]
    assert torch.equal(same, transform(images.image(0)[None], key=(2, 7)))


@pytest.mark.parametrize("by", ["patient", "study"])
def test_micle_at_the_level_of_batches(by):
    """Check 2: two files for a bag of two, one for a bag of one, and a patient number that masks its negatives."""
    images = decode(read_level)
    sampler = PairSampler(patient_bags(images.items, by), seed=1, simclr_epochs=0)
    sampler.set_epoch(1)
    for batch in DataLoader(PairDataset(images, show), batch_size=3, sampler=sampler):
        for row in range(3):
            levels = batch["image"][row, :, 0, 0, 0].tolist()
            assert levels == [20 * (int(batch[name][row]) + 1) for name in ("first", "second")]
            patient = PATIENTS[int(batch["first"][row])]
            assert PATIENTS[int(batch["second"][row])] == patient
            assert int(batch["patient"][row]) == "abc".index(patient)
            assert (levels[0] != levels[1]) == (by == "patient" and patient != "c")


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("return_uint8", [False, True])
def test_workers_give_the_same_batches(epoch, return_uint8):
    images = decode(read_noise)
    sampler = PairSampler(patient_bags(images.items), seed=4, simclr_epochs=1)
    sampler.set_epoch(epoch)
    dataset = PairDataset(images, MultiView(size=24, seed=4, return_uint8=return_uint8))
    alone, workers = (list(DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=count)) for count in (0, 2))
    assert len(alone) == len(workers) == 3
    views = set()
    for one, other in zip(alone, workers, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name])
        assert one["image"].dtype == (torch.uint8 if return_uint8 else torch.float32)
        views |= {view.numpy().tobytes() for view in one["image"].flatten(0, 1)}
    assert len(views) == 12  # no view repeats another


def centre(image):
    return torch.from_numpy(image[:, 4:8, 4:8].copy()).float() / 255


def test_labelled_images():
    images = decode(read_level, [0, None, 2, math.nan, 1])
    dataset = ImageDataset(images, centre)
    assert dataset.labels.tolist() == [0, -1, 2, -1, 1, -1]
    assert dataset.labels.dtype == np.int64
    assert dataset.patients.tolist() == [0, 1, 0, 2, 1, 0]
    known = ImageDataset(images, centre, labelled_only=True)
    assert known.indices == [0, 2, 4]
    assert known.labels.tolist() == [0, 2, 1]
    sample = known[2]
    assert sample["image"].shape == (1, 4, 4)
    assert float(sample["image"][0, 0, 0]) == pytest.approx(100 / 255)
    assert (int(sample["label"]), sample["patient"], sample["index"]) == (1, 1, 4)
    batch = next(iter(DataLoader(known, batch_size=3)))
    assert batch["label"].tolist() == [0, 2, 1]


def test_multi_label():
    images = decode(read_level, [[1.0, None], None, [0.0, 1.0]])
    dataset = ImageDataset(images, centre, task="multi_label", num_classes=2)
    assert dataset.labels.shape == (6, 2)
    np.testing.assert_array_equal(dataset.labels[:3], [[1, np.nan], [np.nan, np.nan], [0, 1]])
    assert dataset[2]["label"].dtype == torch.float32
    assert ImageDataset(images, centre, "multi_label", 2, labelled_only=True).indices == [0, 2]


@pytest.mark.parametrize(("task", "classes"), [("multi_label", 3), ("regression", 2)])
def test_labels_that_do_not_fit(task, classes):
    with pytest.raises(ConfigurationError):
        ImageDataset(decode(read_level, [[1.0, 0.0]]), centre, task, classes)


class Masks:
    """The lungs of an image are where its left upper quarter is, on a coarse grid of its own."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def mask(self, index, shape):
        mask = np.zeros(shape, np.uint8)
        mask[: shape[0] // 2, : shape[1] // 2] = 1
        return mask


def read_quarter(path):
    """An image that is bright where its mask is: 200 there, 50 elsewhere."""
    image = np.full((48, 40), 50, np.uint8)
    image[:24, :20] = 200
    return image


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("second", [2, 5])
def test_lung_masks_are_warped_with_their_views(views, second):
    images = decode(read_quarter)
    transform = MultiView(size=32, num_views=views, jitter_prob=0.0, return_uint8=True, fill=50 / 255)
    dataset = PairDataset(images, transform, lung_masks=Masks(6))
    draw = Draw(1, 4, 2, second, 0)
    if second != 2 and views != 2:
        with pytest.raises(ConfigurationError, match=f"makes {views} views"):
            dataset[draw]
        return
    sample = dataset[draw]
    assert sample["lung_mask"].shape == sample["image"].shape == (views, 1, 32, 32)
    assert sample["lung_mask"].dtype == torch.uint8
    # The same images as without masks, and a mask that is where the image is bright, but for its blurred edge.
    assert torch.equal(sample["image"], PairDataset(images, transform)[draw]["image"])
    clear = (sample["image"] == 200) | (sample["image"] == 50)
    assert clear.float().mean() > 0.85
    assert torch.equal((sample["image"] == 200)[clear], sample["lung_mask"].bool()[clear])


def test_one_view_without_masks():
    sample = PairDataset(decode(read_noise), MultiView(size=24, num_views=1))[Draw(0, 3, 1, 1, 0)]
    assert sample["image"].shape == (1, 1, 24, 24)
    assert "lung_mask" not in sample


def test_masks_of_other_images():
    with pytest.raises(ConfigurationError, match="5 lung masks for 6 images"):
        PairDataset(decode(read_noise), MultiView(size=24), lung_masks=Masks(5))


def test_masks_need_a_transform_that_warps_them():
    with pytest.raises(ConfigurationError, match="a function does not warp masks"):
        PairDataset(decode(read_noise), show, lung_masks=Masks(6))


@pytest.mark.parametrize(("transform", "protocols"), [(MultiView(), 2), (Views(), 1), (show, 0)])
def test_what_is_a_view_transform(transform, protocols):
    assert [isinstance(transform, kind) for kind in (ViewTransform, DrawnViewTransform)] == [
        protocols > 0, protocols > 1,
    ]  # fmt: skip
    assert PairDataset(decode(read_level), transform).num_views == (3 if protocols == 1 else 2)
