# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pairs by share and by MedAug's conditions."""

from __future__ import annotations

import itertools
import logging
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from monai_cxrssl.data import PairChoice, PairSampler, patient_bags
from monai_cxrssl.data.sampling.pair_choice import pair_choice
from monai_cxrssl.errors import ConfigurationError

FILMS = [
    ("a", "1", "PA"), ("a", "1", "LL"), ("a", "2", "AP"), ("b", "1", "PA"), ("a", "2", "LATERAL"), ("b", "1", ""),
    ("b", "2", "AP supine"), ("c", "1", "PA"), ("a", "", "PA"), ("b", None, "COSTAL"),
]  # fmt: skip
ITEMS = [dict(zip(("patient_id", "study_id", "view_position"), film, strict=True)) for film in FILMS]


def side(item):
    return {"P": "frontal", "A": "frontal", "L": "lateral"}.get(item["view_position"][:1])


def reference(first, second, views, studies):
    """MedAug's conditions in words, one pair at a time."""
    if first is second or first["patient_id"] != second["patient_id"]:
        return False
    for rule, read in ((views, side), (studies, lambda item: item["study_id"])):
        one, other = read(first), read(second)
        if rule != "any" and (not one or not other or (one == other) != (rule == "same")):
            return False
    return True


@pytest.mark.parametrize(("views", "studies"), itertools.product(("any", "same", "different"), repeat=2))
@pytest.mark.parametrize("share", [None, 0.5])
def test_pairs_are_those_of_the_conditions(views, studies, share):
    bags = patient_bags(ITEMS)
    choice = pair_choice(ITEMS, bags, views, studies)
    assert (choice is None) == (views == studies == "any")
    sampler = PairSampler(bags, seed=1, choice=choice, multi_image_share=share)
    pairs = set()
    for epoch in range(150):
        sampler.set_epoch(epoch)
        pairs |= {(draw.first, draw.second) for draw in sampler}
    possible = {
        (i, j) for i, j in itertools.permutations(range(len(ITEMS)), 2) if reference(ITEMS[i], ITEMS[j], views, studies)
    }
    assert {pair for pair in pairs if pair[0] != pair[1]} == possible
    # What has no partner is a pair of itself; no image is forgotten.
    assert {first for first, _ in pairs} == set(range(len(ITEMS)))


def test_same_study_is_that_of_bags_by_study():
    choice = PairChoice(ITEMS, patient_bags(ITEMS), studies="same")
    places = [index for bag in patient_bags(ITEMS) for index in bag]
    by_study = {index: len(bag) - 1 for bag in patient_bags(ITEMS, by="study") for index in bag}
    assert choice.counts.tolist() == [by_study[index] for index in places]


def test_partners_are_uniform():
    items = [{"patient_id": "p", "view_position": view} for view in ("PA", "LL", "PA", "AP", "PA")]
    sampler = PairSampler([[0, 1, 2, 3, 4]], choice=PairChoice(items, [[0, 1, 2, 3, 4]], views="same"))
    counts: Counter[tuple[int, int]] = Counter()
    for epoch in range(800):
        sampler.set_epoch(epoch)
        counts.update((draw.first, draw.second) for draw in sampler)
    lonely = counts.pop((1, 1))
    assert len(counts) == 12
    assert chisquare(list(counts.values())).pvalue > 1e-3
    assert lonely == pytest.approx(800, rel=0.15)


def bags_of(single: int, double: int) -> list[list[int]]:
    members = iter(range(single + 2 * double))
    return [[next(members)] for _ in range(single)] + [[next(members), next(members)] for _ in range(double)]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.5, 2 / 3, 1.0])
@pytest.mark.parametrize("bags", [bags_of(508, 121), bags_of(7, 40), bags_of(0, 30)])
def test_share_of_a_batch_is_within_one_pair(bags, share, world_size):
    samplers = [
        PairSampler(bags, seed=3, multi_image_share=share, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for epoch in (0, 1, 5):
        everyone = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            draws = list(sampler)
            assert len(draws) == sum(map(len, bags)) // world_size
            different = np.array([draw.first != draw.second for draw in draws])
            for size in (8, 13):
                counts = np.convolve(different, np.ones(size, dtype=int), "valid")
                assert np.abs(counts - share * size).max() < 1
            everyone += draws
        assert abs(sum(draw.first != draw.second for draw in everyone) - share * len(everyone)) <= 1
        assert sorted(draw.position for draw in everyone) == list(range(len(everyone)))
        assert all({draw.first, draw.second} <= set(bags[draw.bag]) for draw in everyone)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def epoch(number, seed=1, rank=0, world_size=1):
        sampler = PairSampler(bags_of(20, 9), seed, 1, rank, world_size, multi_image_share=0.6)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(4) == epoch(4)
    assert [draw[2:] for draw in epoch(4)] != [draw[2:] for draw in epoch(5)]
    assert epoch(4) != epoch(4, seed=2)
    assert all(draw.first == draw.second for draw in epoch(0))  # SimCLR's epochs have no share


def test_bags_take_turns():
    sampler = PairSampler(bags_of(50, 10), multi_image_share=0.5)
    draws = list(sampler)
    turns = Counter(draw.bag for draw in draws if draw.first != draw.second)
    assert sampler.multi_image_pairs(0) == sum(turns.values()) / len(draws)
    assert sorted(set(turns.values())) in ([3, 4], [3])
    assert max(Counter(draw.bag for draw in draws if draw.first == draw.second).values()) == 1


def test_a_low_share_forgets_no_image():
    sampler = PairSampler(bags_of(2, 10), multi_image_share=0.0)
    seen = set()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        seen |= {draw.first for draw in sampler}
    assert seen == set(range(22))


def test_the_log_says_what_came_of_it(caplog):
    with caplog.at_level(logging.INFO):
        PairSampler(bags_of(508, 121))
        PairSampler(bags_of(508, 121), multi_image_share=0.5)
        PairSampler(bags_of(508, 121), multi_image_share=0.5, rank=1, world_size=2)
        PairSampler(bags_of(3, 0), multi_image_share=0.5)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[0].startswith("19.2 % of MICLe's pairs are of two different images (as they come)")
    assert "each of the 121 of 629 bags that have such pairs gives 1.2 of them in an epoch" in lines[0]
    assert lines[1].startswith("50.0 % of MICLe's pairs are of two different images (as they come 19.2 %)")
    assert "gives 3.1 of them in an epoch. Up to 16.1 % no bag would give two" in lines[1]
    assert "no bag (patient or study) has two images or more, so MICLe has no pairs" in lines[2]


def test_faults():
    with pytest.raises(ConfigurationError, match="views of a pair are 'any', 'same' or 'different', not 'PA'"):
        PairChoice(ITEMS, patient_bags(ITEMS), views="PA")
    with pytest.raises(ConfigurationError, match="multi_image_share is 1.5"):
        PairSampler([[0, 1]], multi_image_share=1.5)
    with pytest.raises(ConfigurationError, match="of 10 images and the bags hold 2"):
        PairSampler([[0, 1]], choice=PairChoice(ITEMS, patient_bags(ITEMS)))
