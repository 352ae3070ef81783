# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Several processes save together and go on as one that was never stopped."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch

from monai_cxrssl.checkpoints import agreed_saves, checkpoint
from monai_cxrssl.checkpoints.agreed_saves import SaveBarrier, gather_states, state_of_this_process
from monai_cxrssl.errors import ConfigurationError
from tests.reliability.tiny_run import BATCHES, tiny_run


@pytest.mark.slow
def test_killed_within_an_epoch_two_processes_end_bit_equal(repo, tmp_path, warm_python):
    result = warm_python.run(["-m", "tests.reliability.two_process_runs", tmp_path, 3], repo)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("resumed from") == 3
    assert "_iteration=" in result.stdout, "no kill came within an epoch"


class Job:
    """Processes of one job, one after the other; each has a clock of its own."""

    def __init__(self, monkeypatch, seconds_per_iteration: float) -> None:
        self.rank, self.said, self.now = 0, [], 0.0
        self.each = seconds_per_iteration
        monkeypatch.setattr(idist, "get_world_size", lambda: 2)
        monkeypatch.setattr(idist, "get_rank", lambda: self.rank)
        monkeypatch.setattr(idist, "broadcast", self.broadcast)
        monkeypatch.setattr(agreed_saves.time, "monotonic", lambda: self.now)

    def broadcast(self, value: float, src: int) -> float:
        assert src == 0
        if self.rank == 0:
            self.said.append(value)
            return value
        return self.heard.pop(0)

    def saves(self, rank: int, every: float, iterations: int) -> list[int]:
        """After which iterations a process saves."""
        self.rank, self.now, self.heard = rank, 100.0 * rank, list(self.said)
        meetings, found, saved_at = SaveBarrier(), [], self.now
        meetings.start(0)
        for iteration in range(1, iterations + 1):
            self.now += self.each * (1 + rank)
            if iteration % 6 and meetings.due(iteration, saved_at + every - self.now):
                found.append(iteration)
                saved_at = self.now
        assert rank == 0 or not self.heard, "a process did not come to a meeting"
        return found


@pytest.mark.parametrize(("each", "every"), [(0.5, 600), (0.01, 60), (30, 600), (2000, 600)])
def test_processes_of_other_clocks_save_after_the_same_iterations(monkeypatch, each, every):
    job = Job(monkeypatch, each)
    count = int(4.5 * max(every / each, 2)) + 6
    first = job.saves(0, every, count)
    assert job.saves(1, every, count) == first
    assert len(first) >= 3
    gaps = [(later - earlier) * each for earlier, later in pairwise(first)]
    assert all(every <= gap <= every + 3 * each for gap in gaps if each < every)
    assert len(job.said) <= 4 + len(first) * (4 + (every / each + 1).__ceil__().bit_length()), "too many meetings"


def test_one_process_asks_nobody(monkeypatch):
    monkeypatch.setattr(idist, "broadcast", None)
    meetings = SaveBarrier()
    meetings.start(0)
    assert [meetings.due(iteration, 2.5 - iteration) for iteration in range(1, 5)] == [False, False, True, True]
    assert gather_states({"a": 1}) == [{"a": 1}]


def test_each_process_gets_its_own_state(monkeypatch, caplog):
    state = {"random": 0, "other_processes": [{"random": 1, "parts": {"history": "second"}}]}
    monkeypatch.setattr(idist, "get_world_size", lambda: 2)
    for rank, expected in enumerate(({"random": 0, "parts": {}}, {"random": 1, "parts": {"history": "second"}})):
        monkeypatch.setattr(idist, "get_rank", lambda rank=rank: rank)
        assert state_of_this_process(state, Path("a.pt")) == expected
    assert not caplog.text


@pytest.mark.parametrize(("saved", "now"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_a_warning(monkeypatch, caplog, saved, now):
    others = [{"random": number, "parts": {}} for number in range(1, saved)]
    monkeypatch.setattr(idist, "get_world_size", lambda: now)
    with caplog.at_level(logging.WARNING):
        found = state_of_this_process({"random": 0, "other_processes": others}, Path("a.pt"))
    assert found["random"] == 0
    assert f"a.pt holds the random generators of {saved} process(es), this run has {now}" in caplog.text


def test_a_checkpoint_without_other_processes_is_one_of_one(caplog):
    """As earlier versions wrote it."""
    assert state_of_this_process({"random": 3}, Path("a.pt"))["random"] == 3
    assert not caplog.text


def test_processes_that_find_different_checkpoints_are_told(monkeypatch, tmp_path):
    """As on two machines whose output folders are not one."""
    tiny_run(tmp_path, 1).run()
    monkeypatch.setattr(checkpoint, "gather_states", lambda name: [name, "none"])
    with pytest.raises(ConfigurationError, match=r"find different checkpoints in .*: checkpoint_epoch=0001\.pt, none"):
        tiny_run(tmp_path, resume="auto")


def test_the_state_of_one_process_has_no_others(tmp_path):
    tiny_run(tmp_path, 1).run()
    state = torch.load(tmp_path / "checkpoint_epoch=0001.pt", weights_only=True)
    assert state["other_processes"] == []
    assert state["iteration"] == 0
    assert state["epoch_length"] == BATCHES
