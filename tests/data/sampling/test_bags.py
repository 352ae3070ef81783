# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Patient bags and the draws from them (check 2 of the methods: MICLe pairs)."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from monai_cxrssl.data.sampling.bags import Draw, PairSampler, patient_bags, patient_numbers
from monai_cxrssl.errors import ConfigurationError


def make_items(*sizes):
    """Items of patients with these numbers of images, patients interleaved."""
    rounds = [[p for p, size in enumerate(sizes) if size > n] for n in range(max(sizes))]
    return [{"image": f"{p}-{n}.png", "patient_id": f"p{p}"} for n, patients in enumerate(rounds) for p in patients]


@pytest.mark.parametrize(
    ("items", "by", "expected"),
    [
        ([("a",), ("b",), ("a",)], "patient", [[0, 2], [1]]),
        ([("b", "1"), ("a", "1"), ("b", "2"), ("b", "1")], "patient", [[0, 2, 3], [1]]),
        ([("b", "1"), ("a", "1"), ("b", "2"), ("b", "1")], "study", [[0, 3], [1], [2]]),
        # Images of unknown study are not known to be of the same one.
        ([("a", None), ("a",), ("a", ""), ("a", "1"), ("a", "1")], "study", [[0], [1], [2], [3, 4]]),
        ([], "patient", []),
    ],
)
def test_patient_bags(items, by, expected):
    named = [dict(zip(("patient_id", "study_id"), item, strict=False)) for item in items]
    assert patient_bags(named, by) == expected
    with pytest.raises(ConfigurationError, match="'patient' or 'study', not by 'image'"):
        patient_bags(named, "image")


def test_study_bags_give_the_pairs_of_medaug():
    """Two different images of one study of one patient, whatever their views; a lonely image is paired with itself."""
    films = [("a", "1", "PA"), ("a", "1", "LL"), ("a", "2", "PA"), ("b", "1", "AP"), ("a", "1", "PA"), ("b", "1", "AP")]
    items = [dict(zip(("patient_id", "study_id", "view_position"), film, strict=True)) for film in films]
    sampler = PairSampler(patient_bags(items, by="study"), seed=2)
    pairs = set()
    for epoch in range(60):
        sampler.set_epoch(epoch)
        pairs |= {frozenset((draw.first, draw.second)) for draw in sampler}
    assert pairs == {frozenset(pair) for pair in [(0, 1), (0, 4), (1, 4), (3, 5), (2,)]}


def test_patient_numbers_are_bag_numbers():
    items = make_items(3, 1, 2)
    numbers = patient_numbers(items)
    for number, bag in enumerate(patient_bags(items)):
        assert set(numbers[bag]) == {number}


@pytest.mark.parametrize("epoch", [0, 1])
def test_simclr_shows_every_image_once(epoch):
    bags = patient_bags(make_items(4, 1, 2, 3))
    sampler = PairSampler(bags, seed=3, simclr_epochs=2)
    sampler.set_epoch(epoch)
    draws = list(sampler)
    assert sampler.stage() == "simclr"
    assert len(draws) == len(sampler) == 10
    assert sorted(draw.first for draw in draws) == list(range(10))
    assert all(draw.first == draw.second and draw.first in bags[draw.bag] for draw in draws)
    assert [(draw.epoch, draw.position) for draw in draws] == [(epoch, n) for n in range(10)]


@pytest.mark.parametrize("sizes", [(4, 1, 2, 3), (1, 1, 2), (2,), (5, 5), (1,) * 20 + (8,)])
def test_micle_pairs(sizes):
    items = make_items(*sizes)
    bags = patient_bags(items)
    sampler = PairSampler(bags, seed=1, simclr_epochs=1)
    for epoch in (1, 2, 7):
        sampler.set_epoch(epoch)
        draws = list(sampler)
        assert sampler.stage() == "micle"
        assert len(draws) == len(items)
        for draw in draws:
            # Check 2: a bag of two or more gives two different files, a bag of one the same file twice.
            files = {items[draw.first]["image"], items[draw.second]["image"]}
            assert len(files) == min(2, len(bags[draw.bag]))
            assert {draw.first, draw.second} <= set(bags[draw.bag])
        counts = Counter(draw.bag for draw in draws)
        share = len(items) / len(bags)
        assert all(int(share) <= counts[bag] <= -(-len(items) // len(bags)) for bag in range(len(bags)))


def test_micle_pairs_are_uniform():
    sampler = PairSampler([[7, 8, 9, 10], [3]], seed=5, simclr_epochs=0)
    counts: Counter[tuple[int, int]] = Counter()
    for epoch in range(1500):
        sampler.set_epoch(epoch)
        counts.update((draw.first, draw.second) for draw in sampler if draw.bag == 0)
    assert len(counts) == 12
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_rounds_start_uniformly():
    """No bag is favoured by the round that is cut at the end of an epoch."""
    sampler = PairSampler([[0, 1, 2], [3], [4], [5]], seed=2)
    counts: Counter[int] = Counter()
    for epoch in range(1000):
        sampler.set_epoch(epoch)
        counts.update(draw.bag for draw in sampler)
    assert chisquare([counts[bag] for bag in range(4)]).pvalue > 1e-3


@pytest.mark.parametrize("patients", [5, 8, 31])
def test_a_bag_does_not_follow_itself(patients):
    sampler = PairSampler(patient_bags(make_items(*[4] * patients)), seed=9)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        order = np.array([draw.bag for draw in sampler])
        gaps = [np.diff(np.flatnonzero(order == bag)).min() for bag in range(patients)]
        assert min(gaps) > patients // 2


@pytest.mark.parametrize("epoch", [0, 3])
def test_order_depends_on_seed_and_epoch_alone(epoch):
    bags = patient_bags(make_items(3, 2, 1, 4, 2))

    def draws(seed, disturb=False):
        sampler = PairSampler(bags, seed=seed, simclr_epochs=2)
        if disturb:
            for earlier in (5, 0, 2):
                sampler.set_epoch(earlier)
                next(iter(sampler))
            np.random.seed(0)  # noqa: NPY002 (global state must not matter)
            torch.manual_seed(0)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draws(1) == draws(1, disturb=True)
    assert draws(1) != draws(2)
    other = PairSampler(bags, seed=1, simclr_epochs=2)
    other.set_epoch(epoch + 1)
    assert [draw[2:] for draw in draws(1)] != [draw[2:] for draw in other]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("epoch", [0, 1])
def test_processes_share_the_draws(world_size, epoch):
    bags = patient_bags(make_items(3, 2, 1, 4, 1))
    whole = PairSampler(bags, seed=1, simclr_epochs=1)
    whole.set_epoch(epoch)
    parts = []
    for rank in range(world_size):
        part = PairSampler(bags, seed=1, simclr_epochs=1, rank=rank, world_size=world_size)
        part.set_epoch(epoch)
        parts.append(list(part))
        assert len(parts[-1]) == len(part) == 11 // world_size
    used = 11 // world_size * world_size
    assert sorted((draw for part in parts for draw in part), key=lambda draw: draw.position) == list(whole)[:used]


@pytest.mark.parametrize(
    ("bags", "options", "message"),
    [
        ([], {}, "0 bags"),
        ([[0], []], {}, "1 of them empty"),
        ([[0, 1], [1]], {}, "more than one bag"),
        ([[0, 0]], {}, "twice in one"),
        ([[0]], {"rank": 1}, "not one of 0 to 0"),
        ([[0]], {"world_size": 2}, "too few for 2 processes"),
        ([[0]], {"seed": -1}, "seed is -1"),
    ],
)
def test_faults(bags, options, message):
    with pytest.raises(ConfigurationError, match=message):
        PairSampler(bags, **options)


def test_without_multi_image_bags_micle_is_simclr(caplog):
    with caplog.at_level(logging.WARNING):
        sampler = PairSampler([[0], [1], [2]], simclr_epochs=1)
    assert "no bag (patient or study) has two images or more" in caplog.text
    sampler.set_epoch(5)
    assert sampler.stage() == "simclr"
    assert sorted(draw.first for draw in sampler) == [0, 1, 2]
    caplog.clear()
    PairSampler([[0], [1]], simclr_epochs=None)
    assert not caplog.text


def test_simclr_only():
    sampler = PairSampler([[0, 1], [2]], simclr_epochs=None)
    sampler.set_epoch(10**6)
    assert sampler.stage() == "simclr"
    assert all(isinstance(draw, Draw) and draw.first == draw.second for draw in sampler)
