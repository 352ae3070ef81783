# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run bundles as a person does: by the command line, from the files in the repository."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def run_bundle(repo, warm_python) -> Callable[..., subprocess.CompletedProcess]:
    """``run_bundle("bundles/micle/train.json", "--seed", "7")``; output is captured, the status not judged.

    ``processes=2`` starts two of one job, as torchrun does; the first one's answer is returned. torchrun itself starts
    such jobs in tests/docs/test_expert_commands.py.
    """

    def run(config: str, *options: object, cwd: Path = repo, processes: int = 1) -> subprocess.CompletedProcess:
        words = ("-m", "monai.bundle", "run", "--config_file", config, *options)
        if processes == 1:
            return warm_python.run(words, cwd)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        job = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
        started = [
            warm_python.start(words, cwd, **job, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(processes)
        ]
        while None in (ended := [program.poll() for program in started]) and not any(ended):
            time.sleep(0.05)
        if any(ended):
            for program in started:
                program.kill()
        said = [program.communicate() for program in started]
        status = next(filter(None, ended), 0)
        return subprocess.CompletedProcess(
            words, status, "".join(out for out, _ in said), "".join(err for _, err in said)
        )

    return run
