# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Signals at random moments of a run; SIGKILL five times, or as many as ``CXRSSL_KILLS`` says."""

from __future__ import annotations

import os
import signal
import time

import pytest

from monai_cxrssl.checkpoints.stop_signal import STOPPED_STATUS

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CXRSSL_KILLS", "5"))


@pytest.mark.parametrize(("name", "kills", "workers"), [("SIGKILL", KILLS, 0), ("SIGTERM", 2, 2), ("SIGINT", 2, 0)])
def test_stopped_at_random_moments_and_resumed_to_equal_weights(repo, tmp_path, warm_python, name, kills, workers):
    """Every iteration is saved, so that most kills come within a save or just after one."""
    result = warm_python.run(["-m", "tests.reliability.kill_runs", tmp_path, kills, workers, name], repo)
    assert result.returncode == 0, result.stderr[-3000:]
    print(result.stdout)
    assert result.stdout.count("resumed from") == kills


def test_a_signal_ends_with_a_status_of_its_own_and_a_second_one_at_once(repo, tmp_path, warm_python):
    for seconds, signals, status in ((0.2, 1, STOPPED_STATUS), (30, 2, -signal.SIGINT)):
        process = warm_python.start(["-m", "tests.reliability.tiny_run", tmp_path, "auto", 3, seconds], repo)
        while process.poll() is None and process.streams[0].read_text() != "started\n":
            time.sleep(0.05)
        for _ in range(signals):
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == status, err[-3000:]
        assert "Traceback" not in err
        assert "a second signal ends it at once" in err
        assert ("go on with --resume auto" in err) is (signals == 1)
