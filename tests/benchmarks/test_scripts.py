# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of views, imports, evaluation, epochs and scaling run, at their least size, and give finite figures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LEAST = {
    "views": "--side 64 --size 32 --repeats 2 --workers 0 --loader_repeats 1",
    "evaluation": "--images 300 --classes 2 --resamples 20 --loop_resamples 1",
    "imports": "--repeats 1",
    "end_to_end": "--images 8 --batch_size 4 --image_size 32 --film_side 64 --repeats 1 --threads 1 --lightly_workers 0",
    "scaling": "--batch_size 4 --image_size 32 --steps 1 --repeats 1",
}


def figures(value: Any) -> Iterator[float]:
    """Every number of a report."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from figures(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


# A minute and more each on a busy machine, most of it imports in new processes.
@pytest.mark.slow
@pytest.mark.parametrize("script", LEAST)
def test_script_writes_finite_figures(script: str, repo: Path, tmp_path: Path) -> None:
    if script == "scaling" and hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("scaling needs two cores")
    out = tmp_path / "figures.json"
    command = [sys.executable, str(repo / "benchmarks" / f"{script}.py"), *LEAST[script].split(), "--out", str(out)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["torch"] in done.stdout
    numbers = list(figures(report))
    assert len(numbers) > 8
    assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize("script", ["evaluation", "imports"])
def test_help_says_what_is_compared(script: str, repo: Path) -> None:
    command = [sys.executable, str(repo / "benchmarks" / f"{script}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "--out" in done.stdout
    assert f"python benchmarks/{script}.py" in done.stdout
