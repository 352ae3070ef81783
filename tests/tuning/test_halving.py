# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Successive halving with a made-up objective: who goes on, and that a stopped search ends as a whole one."""

from __future__ import annotations

import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.tuning import Outcome, Rung, plan_rungs, successive_halving

CANDIDATES = [
    {"learning_rate": rate, "betas": [rate, 1]} for rate in (1.0, 0.1, 0.3, 3.0, 10.0, 0.01, 0.03, 30.0, 100.0)
]


class Objective:
    """Best at 0.3 after a whole training; 3.0 is the quickest; notes its calls, and may stop like a kill."""

    def __init__(self, stops_after=None, fails=()):
        self.calls: list[tuple[int, float]] = []
        self.stops_after, self.fails = stops_after, fails

    def __call__(self, number, params, share):
        if len(self.calls) == self.stops_after:
            raise KeyboardInterrupt
        self.calls.append((number, share))
        if number in self.fails:
            return Outcome(None, "the loss is nan")
        rate = params["learning_rate"]
        quick = 0.3 if rate == 3.0 else 0.0
        return Outcome(1 - abs(rate - 0.3) / (1 + rate) + quick * (1 - share))


@pytest.mark.parametrize(
    ("trials", "reduction", "expected"),
    [
        (1, 3, [(1, 1, 1)]),
        (2, 3, [(1, 2, 2)]),
        (3, 3, [(1 / 3, 3, 1), (1, 1, 1)]),
        (12, 3, [(1 / 9, 12, 4), (1 / 3, 4, 2), (1, 2, 2)]),
        (28, 3, [(1 / 9, 28, 10), (1 / 3, 10, 4), (1, 4, 4)]),
        (8, 2, [(1 / 4, 8, 4), (1 / 2, 4, 2), (1, 2, 2)]),
        (28, 1, [(1, 28, 28)]),
    ],
)
def test_rungs(trials, reduction, expected):
    rungs = plan_rungs(trials, reduction)
    assert [(rung.share, rung.trials, rung.kept) for rung in rungs] == [pytest.approx(row) for row in expected]


def test_wrong_rungs():
    with pytest.raises(ConfigurationError, match="cannot be reduced by 0"):
        plan_rungs(3, 0)


def test_the_better_ones_go_on(tmp_path):
    objective = Objective()
    rows = successive_halving(tmp_path / "j", CANDIDATES, plan_rungs(9), objective, {})
    assert objective.calls == [
        *((number, pytest.approx(1 / 9)) for number in range(9)),
        *((number, pytest.approx(1 / 3)) for number in (1, 2, 6)),
        (2, 1.0),
    ]
    assert [row["status"] for row in rows] == ["pruned", "pruned", "finished", *["pruned"] * 6]
    assert rows[2]["value"] == pytest.approx(1.0)
    assert [len(row["values"]) for row in rows] == [1, 2, 3, 1, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("stop", range(13))
def test_a_stopped_search_goes_on_and_ends_as_a_whole_one(stop, tmp_path):
    whole = successive_halving(tmp_path / "whole", CANDIDATES, plan_rungs(9), Objective(), {})
    journal = tmp_path / "journal"
    first = Objective(stops_after=stop)
    with pytest.raises(KeyboardInterrupt):
        successive_halving(journal, CANDIDATES, plan_rungs(9), first, {})
    with open(journal, "ab") as stream:
        stream.write(b'{"op_code": 4, "wor')  # killed in the middle of a line
    (tmp_path / "journal.lock").touch()
    second = Objective()
    assert successive_halving(journal, CANDIDATES, plan_rungs(9), second, {}) == whole
    assert len(first.calls) + len(second.calls) == 13
    third = Objective(stops_after=0)
    assert successive_halving(journal, CANDIDATES, plan_rungs(9), third, {}) == whole


def test_failures_do_not_stop_the_others(tmp_path):
    rows = successive_halving(tmp_path / "j", CANDIDATES[:3], plan_rungs(3), Objective(fails=(2,)), {})
    assert [row["status"] for row in rows] == ["pruned", "finished", "failed"]
    assert (rows[2]["value"], rows[2]["problem"]) == (None, "the loss is nan")
    rows = successive_halving(tmp_path / "k", CANDIDATES[:3], plan_rungs(3), Objective(fails=(0, 1, 2)), {})
    assert {row["status"] for row in rows} == {"failed"}


def test_of_equal_ones_the_first(tmp_path):
    rows = successive_halving(
        tmp_path / "j", CANDIDATES[:3], [Rung(0.5, 3, 1), Rung(1.0, 1, 1)], lambda *_: Outcome(0.5), {}
    )
    assert [row["status"] for row in rows] == ["finished", "pruned", "pruned"]


def test_another_search_is_refused(tmp_path):
    successive_halving(tmp_path / "j", CANDIDATES[:2], plan_rungs(2), Objective(), {"data": "a", "rungs": []})
    for identity, candidates, told in (
        ({"data": "b", "rungs": []}, CANDIDATES[:2], "other data;"),
        ({"data": "a", "rungs": []}, CANDIDATES[:3], "other candidates;"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            successive_halving(tmp_path / "j", candidates, plan_rungs(2), Objective(), identity)
