# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run bundles as a person does: by the command line, from the files in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_cxrssl.data.phantom import make_phantom_dataset


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory) -> Path:
    """A small phantom data set; validation and test together have enough patients of each class for a probe."""
    return Path(make_phantom_dataset(tmp_path_factory.mktemp("phantom") / "set", patients=64, size=128)).parent


@pytest.fixture(scope="session")
def run_bundle(repo) -> Callable[..., subprocess.CompletedProcess]:
    """``run_bundle("bundles/micle/train.json", "--seed", "7")``; output is captured, the status not judged."""

    def run(config: str, *options: object, cwd: Path = repo, launcher: tuple = (sys.executable,)):
        command = [*launcher, "-m", "monai.bundle", "run", "--config_file", config, *map(str, options)]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": ""}
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=900
        )

    return run
