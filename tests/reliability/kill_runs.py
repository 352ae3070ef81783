# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kill tiny runs at random moments, resume them, and compare their weights with those of an uninterrupted one.

``python -m tests.reliability.kill_runs FOLDER KILLS WORKERS SIGNAL`` prints one line per kill. Runs are forked from
here, so that each takes a second instead of the many of an import.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from monai_cxrssl.checkpoints.folder import CheckpointFolder
from monai_cxrssl.checkpoints.stop_signal import STOPPED_STATUS
from tests.reliability.tiny_run import main as tiny

EPOCHS = 3


def fork(folder: Path, seconds: float, workers: int) -> int:
    """Start a run; what it says goes to a file beside its folder."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        log = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tiny([str(folder), "auto", str(EPOCHS), str(seconds), str(workers)])
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finished(folder: Path, workers: int) -> dict[str, torch.Tensor]:
    status = wait(fork(folder, 0.0, workers))
    assert status == 0, Path(f"{folder}.txt").read_text()[-3000:]
    return torch.load(folder / "final.pt", weights_only=True)


def main(arguments: list[str]) -> None:
    folder, kills, workers = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    number = signal.Signals[arguments[3]]
    whole = finished(folder / "whole", workers)
    began = time.monotonic()
    assert wait(fork(folder / "slow", 0.02, workers)) == 0
    seconds = time.monotonic() - began
    for kill in range(kills):
        place = folder / f"kill{kill}"
        process = fork(place, 0.02, workers)
        time.sleep(random.Random(kill).uniform(0, seconds))
        os.kill(process, number)
        status = wait(process)
        assert status in (-number, STOPPED_STATUS, 0), f"exit status {status}"
        left = CheckpointFolder(place).newest() if place.exists() else None
        again = finished(place, workers)
        assert set(again) == set(whole)
        different = [name for name, value in whole.items() if not torch.equal(again[name], value)]
        assert not different, f"kill {kill}: {different}"
        print(f"kill {kill}: status {status}, resumed from {left[0].name if left else 'the beginning'}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
