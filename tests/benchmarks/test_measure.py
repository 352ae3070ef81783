# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The order in which benchmarks take their turns."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    sys.modules.pop("measure", None)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 9])
def test_no_place_and_no_predecessor_is_anyones_advantage(count):
    from measure import order_of

    names = [f"variant {number}" for number in range(count)]
    turns = count if count % 2 == 0 else 2 * count
    orders = [order_of(names, turn) for turn in range(turns)]
    assert all(sorted(order) == sorted(names) for order in orders)
    places = Counter((name, place) for order in orders for place, name in enumerate(order))
    followers = Counter(pair for order in orders for pair in pairwise(order))
    assert len(places) == count**2
    assert len(set(places.values())) == 1
    assert len(followers) == count * (count - 1)
    assert len(set(followers.values())) == 1


def test_in_turns_calls_everything_equally_often_in_that_order():
    from measure import in_turns, order_of

    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in "abc"}
    seconds = in_turns(calls, repeats=4, warm_up=1)
    assert called == list("abc") + [name for turn in range(4) for name in order_of(list("abc"), turn)]
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys("abc", 4)
