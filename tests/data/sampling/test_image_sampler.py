# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from monai_cxrssl.data import Draw, ImageSampler
from monai_cxrssl.errors import ConfigurationError

LABELS = np.array([0] * 70 + [1] * 20 + [2] * 6 + [-1] * 4)


def draws(labels=LABELS, epoch=0, **options) -> list[Draw]:
    sampler = ImageSampler(labels, **options)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_unbalanced_epochs_hold_every_image_once():
    first, second = draws(), draws(epoch=1)
    assert sorted(draw.first for draw in first) == list(range(100))
    assert [draw.position for draw in first] == list(range(100))
    assert {draw.epoch for draw in second} == {1}
    assert [draw.first for draw in first] != [draw.first for draw in second]


@pytest.mark.parametrize("epoch", [0, 5])
def test_balanced_epochs_hold_all_groups_equally_often(epoch):
    found = draws(balanced=True, epoch=epoch)
    counts = Counter(LABELS[draw.first] for draw in found)
    assert counts == {0: 25, 1: 25, 2: 25, -1: 25}
    # A frequent class is not repeated; a rare one is, each image about equally often.
    images = Counter(draw.first for draw in found)
    assert max(images[index] for index in range(70)) == 1
    assert {images[index] for index in range(90, 96)} == {4, 5}


def test_over_the_epochs_every_image_comes():
    seen = {draw.first for epoch in range(30) for draw in draws(balanced=True, epoch=epoch)}
    assert seen == set(range(100))


@pytest.mark.parametrize("labels", [LABELS, LABELS[:97], LABELS[:3]])
def test_no_draw_depends_on_earlier_ones(labels):
    sampler = ImageSampler(labels, balanced=True, seed=4)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        walked = list(sampler)
    assert walked == draws(labels, epoch=2, balanced=True, seed=4)
    assert len(walked) == len(sampler) == len(labels)
    assert len(labels) < 10 or walked != draws(labels, epoch=2, balanced=True, seed=5)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("number", [7, 64, 100, 270])
def test_epochs_of_so_many_draws_go_through_the_passes(balanced, number):
    passes = [draw.first for epoch in range(6) for draw in draws(epoch=epoch, balanced=balanced)]
    epochs = [draws(epoch=epoch, balanced=balanced, draws=number) for epoch in range(2)]
    assert [draw.first for epoch in epochs for draw in epoch] == passes[: 2 * number]
    assert len({(draw.epoch, draw.position) for epoch in epochs for draw in epoch}) == 2 * number
    shared = [draws(balanced=balanced, draws=number, rank=rank, world_size=3) for rank in range(3)]
    assert [len(part) for part in shared] == [number // 3] * 3


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_an_epoch(balanced, world_size):
    whole = draws(balanced=balanced)
    parts = [draws(balanced=balanced, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(part) for part in parts} == {100 // world_size}
    assert sorted(draw for part in parts for draw in part) == sorted(whole[: 100 // world_size * world_size])
    if balanced:
        # No process sees one class only, not even with as many processes as groups.
        assert all(set(LABELS[[draw.first for draw in part]]) == {-1, 0, 1, 2} for part in parts)


def test_groups_of_multi_label_images():
    """The group is the rarest finding; images without any, and without a label, are groups too."""
    nan = np.nan
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0], [0, nan], [nan, nan], [1, nan], [0, 0]], dtype=np.float32)
    sampler = ImageSampler(labels, balanced=True)
    assert sorted(members.tolist() for members in sampler.members) == [[0, 1, 6], [2], [3, 4, 7], [5]]
    assert Counter(draw.first for draw in sampler)[2] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world_size": 2}, "Process number 2"),
        ({"world_size": 101}, "too few"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    with pytest.raises(ConfigurationError, match=message):
        ImageSampler(LABELS, **options)
