# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A run that was killed within an epoch tells the loss and the samples of all of it."""

from __future__ import annotations

import pytest

from tests.reliability.test_resume import Killed, kill_at
from tests.reliability.tiny_run import RunHistory, tiny_run


def rows(run) -> list[dict]:
    (history,) = {
        handler.__self__
        for handlers in run._event_handlers.values()
        for handler, *_ in handlers
        if isinstance(getattr(handler, "__self__", None), RunHistory)
    }
    return history.rows


@pytest.mark.parametrize("iteration", [4, 6, 9])
def test_losses_of_a_resumed_run_are_those_of_a_whole_one(tmp_path, iteration):
    whole = tiny_run(tmp_path / "whole", minutes=10)
    whole.run()
    with pytest.raises(Killed):
        tiny_run(tmp_path / "parts", more=[kill_at(iteration)]).run()
    again = tiny_run(tmp_path / "parts", resume="auto")
    again.run()
    assert [row["loss"] for row in rows(again)] == [row["loss"] for row in rows(whole)]
    assert all(row["seconds"] > 0 for row in rows(again))
