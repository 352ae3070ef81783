# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kill tiny runs of two processes at random moments, resume them, compare with an uninterrupted one.

``python -m tests.reliability.two_process_runs FOLDER KILLS`` prints one line per kill. Both processes of a run are
forked from here, as torchrun would start them; each has other random generators and batches of its own.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import torch

from monai_cxrssl.checkpoints import save_atomically
from monai_cxrssl.checkpoints.folder import CheckpointFolder
from monai_cxrssl.hardware import data_parallel, join_processes, leave_processes
from tests.reliability.tiny_run import BATCHES, Slow, tiny_run

EPOCHS = 3
PROCESSES = 2


def train(folder: Path, rank: int, seconds: float) -> None:
    join_processes("cpu", timeout_minutes=1)
    run = tiny_run(
        folder, EPOCHS, "auto", more=[Slow(seconds)], rank=rank, world_size=PROCESSES,
        wrap=lambda method: data_parallel(method, "cpu"),
    )  # fmt: skip
    run.run()
    history = [row["loss"] for row in run.history.rows]
    # Buffers are the first process's: the others' are overwritten by them before each step, and never written down.
    method = run.unwrapped_method
    weights = method.state_dict() if rank == 0 else dict(method.named_parameters())
    weights = {name: value.detach() for name, value in weights.items()}
    save_atomically({"weights": weights, "losses": history}, folder / f"final{rank}.pt")
    leave_processes()


def start(folder: Path, seconds: float) -> list[int]:
    """Fork both processes of a run; what they say goes to a file beside its folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(PROCESSES):
        process = os.fork()
        if process:
            processes.append(process)
            continue
        status = 1
        try:
            log = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }  # fmt: skip
            train(folder, rank, seconds)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return processes


def finished(folder: Path, seconds: float = 0.0) -> list[dict]:
    status = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in start(folder, seconds)]
    assert status == [0, 0], Path(f"{folder}.txt").read_text()[-3000:]
    return [torch.load(folder / f"final{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def wait_for_state(folder: Path, iteration: int) -> None:
    """Wait until a run has saved its state after an iteration, or a later one."""
    for _ in range(6000):
        names = [path.stem for path in CheckpointFolder(folder).files()]
        found = [[int(part.split("=")[1]) for part in name.split("_")[1:]] for name in names]
        if any(epoch * BATCHES + (within[0] if within else 0) >= iteration for epoch, *within in found):
            return
        time.sleep(0.01)
    raise AssertionError(Path(f"{folder}.txt").read_text()[-3000:])


def main(arguments: list[str]) -> None:
    folder, kills = Path(arguments[0]), int(arguments[1])
    whole = finished(folder / "whole")
    for kill in range(kills):
        place, draw = folder / f"kill{kill}", random.Random(kill)
        processes = start(place, 0.1)
        wait_for_state(place, draw.choice([number for number in range(2, 16) if number % BATCHES]))
        time.sleep(draw.uniform(0, 0.1))
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        left = CheckpointFolder(place).newest() if place.exists() else None
        again = finished(place)
        for rank in range(PROCESSES):
            assert again[rank]["losses"] == whole[rank]["losses"], f"kill {kill}, process {rank}: losses"
            different = [
                name
                for name, value in whole[rank]["weights"].items()
                if not torch.equal(again[rank]["weights"][name], value)
            ]
            assert not different, f"kill {kill}, process {rank}: {different}"
        print(f"kill {kill}: resumed from {left[0].name if left else 'the beginning'}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
