# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run bundles as a person does: by the command line, from the files in the repository."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monai_cxrssl.phantom import make_phantom_dataset

ENVIRONMENT = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": ""}
TIMEOUT = 900


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory) -> Path:
    """A small phantom data set; validation and test together have enough patients of each class for a probe."""
    return Path(make_phantom_dataset(tmp_path_factory.mktemp("phantom") / "set", patients=64, size=128)).parent


class WarmPython:
    """Runs modules in forks of one process that has imported torch and MONAI: see warm_python.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("warm_python.py")],
            env={**os.environ, **ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, module: str, arguments: list[str], cwd: Path) -> subprocess.CompletedProcess:
        """As ``subprocess.run`` of ``python -m module`` with captured output."""
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        for path in (out, err):
            path.write_bytes(b"")
        work = {"module": module, "arguments": arguments, "folder": str(cwd), "out": str(out), "err": str(err)}
        self.process.stdin.write(json.dumps(work | {"environment": {**os.environ, **ENVIRONMENT}}) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], TIMEOUT)[0]:
            self.process.kill()
            raise subprocess.TimeoutExpired([module, *arguments], TIMEOUT, out.read_bytes(), err.read_bytes())
        status = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(
            [sys.executable, "-m", module, *arguments],
            status,
            *(path.read_text(errors="replace") for path in (out, err)),
        )

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory) -> Iterator[WarmPython]:
    """Started with the first run that wants it."""
    warm = WarmPython(tmp_path_factory.mktemp("warm_python"))
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def run_bundle(repo, request) -> Callable[..., subprocess.CompletedProcess]:
    """``run_bundle("bundles/micle/train.json", "--seed", "7")``; output is captured, the status not judged."""

    def run(config: str, *options: object, cwd: Path = repo, launcher: tuple = ()):
        words = ["run", "--config_file", config, *map(str, options)]
        if hasattr(os, "fork") and not launcher:
            return request.getfixturevalue("warm_python").run("monai.bundle", words, cwd)
        command = [*(launcher or (sys.executable,)), "-m", "monai.bundle", *words]
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False,
            timeout=TIMEOUT,
        )  # fmt: skip

    return run
