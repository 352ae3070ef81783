# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The fuzz target finds nothing in eight seconds; by hand it may run for hours."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_fuzzing_finds_nothing(repo, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install atheris")
    script = repo / "tests" / "robustness" / "fuzz_reader.py"
    command = [sys.executable, str(script), "--seconds", "8", "--findings", str(tmp_path / "found")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    found = [path.name for path in (tmp_path / "found").iterdir()]
    assert (done.returncode, found) == (0, []), done.stdout[-1000:] + done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr
