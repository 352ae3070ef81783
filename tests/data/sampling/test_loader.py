# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import pytest
import torch

from monai_cxrssl.data import PairSampler, training_loader, worker_count
from monai_cxrssl.errors import ConfigurationError


class Positions(torch.utils.data.Dataset):
    """Shows which draws arrive."""

    def __getitem__(self, draw):
        return {"image": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "index": draw.position, "first": draw.first}


def loader(images: int, batch_size: int, **options):
    return training_loader(
        Positions(), PairSampler([[index] for index in range(images)], simclr_epochs=None), batch_size, **options
    )


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"), [(10, 5, [5, 5]), (11, 5, [5, 5]), (4, 5, [4]), (2, 2, [2])]
)
def test_all_batches_are_of_one_size(images, batch_size, sizes, caplog):
    batches = list(loader(images, batch_size))
    assert [len(batch["image"]) for batch in batches] == sizes
    assert ("more than the 4 samples" in caplog.text) is (images < batch_size)


@pytest.mark.parametrize(("images", "batch_size"), [(1, 8), (8, 1), (8, 0)])
def test_a_batch_must_contrast(images, batch_size):
    with pytest.raises(ConfigurationError, match="at least two samples"):
        loader(images, batch_size)


def test_a_method_without_contrast_takes_a_batch_of_one():
    assert [len(batch["image"]) for batch in loader(3, 1, minimum_batch_size=1)] == [1, 1, 1]
    with pytest.raises(ConfigurationError, match=r"must hold a sample; --batch_size is 0 and an epoch has 3"):
        loader(3, 0, minimum_batch_size=1)
    with pytest.raises(ConfigurationError, match="at least 4 samples"):
        loader(3, 8, minimum_batch_size=4)


def test_workers_change_nothing_over_epochs():
    alone, helped = loader(12, 4, num_workers=0), loader(12, 4, num_workers=2)
    for epoch in range(3):
        for each in (alone, helped):
            each.sampler.set_epoch(epoch)
        one, other = ([batch["first"].tolist() for batch in each] for each in (alone, helped))
        assert one == other
    assert cv2.getNumThreads() == 1


def test_left_out_images_change_from_epoch_to_epoch():
    each = loader(7, 4)
    seen = set()
    for epoch in range(20):
        each.sampler.set_epoch(epoch)
        seen |= {first for batch in each for first in batch["first"].tolist()}
    assert seen == set(range(7))


@pytest.mark.parametrize(
    ("asked", "device", "cores", "expected"),
    [
        ("auto", "cpu", 16, 0),
        ("auto", "cuda", 16, 8),
        ("auto", "cuda", 4, 3),
        ("auto", "cuda", 1, 1),
        (3, "cpu", 2, 3),
        ("5", "cpu", 2, 5),
    ],
)
def test_worker_count(asked, device, cores, expected, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert worker_count(asked, device) == expected


@pytest.mark.parametrize("asked", [-1, "many", "-2"])
def test_impossible_worker_count(asked):
    with pytest.raises(ConfigurationError, match="--num_workers"):
        worker_count(asked, "cpu")
