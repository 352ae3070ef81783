# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of speed and memory run, at their least size, give finite figures, and fill the page of results."""

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

from tests.warm_python import WarmPython

LEAST = {
    "reading": "--side 64 --repeats 1",
    "public_formats": "--scale 0.05 --turns 1 --films 4 --side 64",
    "cache": "--images 20 --side 32 --films 1 --film_side 64 --repeats 1",
    "archives": "--files 12 --latency_ms 5 --films 1 --patients 2 --repeats 1",
    "inference": "--films 6 --batch_size 4 --turns 1 --encoder resnet18 --image_size 64 --scale 0.1",
    "data_layer": "--images 300 --films 30",
    "losses": "--batches 16 --large_batch 0 --repeats 1 --vit_repeats 0",
    "step": "--size 32 --batch 2 --steps 1 --repeats 1",
    "memory": "--items 200 --samples 100 --epochs 2 --workers 1 --batch_size 50 --bundles",
    "gpu": "--device cpu --encoders resnet18 --image_size 32 --film_side 64 --batch_sizes 4 --images 8 --repeats 1 "
    "--lightly_workers 0",
    "views": "--side 64 --size 32 --repeats 2 --workers 0 --loader_repeats 1",
    "evaluation": "--images 300 --classes 2 --resamples 20 --loop_resamples 1",
    "imports": "--repeats 1",
    "end_to_end": "--images 8 --batch_size 4 --image_size 32 --film_side 64 --repeats 1 --threads 1 --lightly_workers 0",
    "scaling": "--batch_size 4 --image_size 32 --steps 1 --repeats 1",
}


WITHOUT_TARGETS = {"cache", "data_layer", "evaluation"}


def figures(value: Any) -> Iterator[float]:
    """Every number of a report."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from figures(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


# Half a minute and more each on a busy machine.
@pytest.mark.slow
@pytest.mark.parametrize("script", LEAST)
def test_script_writes_finite_figures(script: str, repo: Path, tmp_path: Path, warm_python: WarmPython) -> None:
    if script == "scaling" and hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("scaling needs two cores")
    out = tmp_path / "figures.json"
    done = warm_python.run([repo / "benchmarks" / f"{script}.py", *LEAST[script].split(), "--out", out], repo)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["machine"]["cores"] >= 1
    if script != "cache":
        assert report["machine"]["torch"] in done.stdout
    numbers = list(figures(report))
    assert len(numbers) > 5
    assert all(math.isfinite(number) for number in numbers)
    for row in report.get("targets", []):
        assert f"{row['figure']}: target {row['target']}: " in done.stdout
    if script not in WITHOUT_TARGETS:
        assert report["targets"]


@pytest.mark.parametrize("script", ["evaluation", "imports"])
def test_help_says_what_is_compared(script: str, repo: Path) -> None:
    command = [sys.executable, str(repo / "benchmarks" / f"{script}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "--out" in done.stdout
    assert f"python benchmarks/{script}.py" in done.stdout


@pytest.fixture
def results(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import results

    return results


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [(1.2, "<= 1.2", True), (1.21, "<= 1.2", False), (10, "< 10", False), (3, ">= 3", True), (2.9, ">= 3", False)],
)
def test_targets_are_judged_by_their_own_words(
    value: float, target: str, expected: bool, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import measure

    row = measure.judged("a ratio", value, target)
    assert row == {"figure": "a ratio", "target": target, "value": value, "holds": expected}


FAKE = """
import argparse, json, sys
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path)
parser.add_argument("--fail", action="store_true")
options = parser.parse_args()
if options.fail:
    sys.exit("no luck")
machine = {"processor": "P", "cores": 2, "gpu": None, "torch": "9.9"}
targets = [{"figure": "speed", "target": ">= 2", "value": 1.25, "holds": False}]
options.out.write_text(json.dumps({"machine": machine, "targets": targets}))
print("a table")
print("written: somewhere")
"""


def test_results_resume_and_tell_of_misses(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        (tmp_path / f"{name}.py").write_text(FAKE)
    monkeypatch.setattr(results, "HERE", tmp_path)
    monkeypatch.setattr(results, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(results, "SCRIPTS", (results.Script("bad", ("--fail",), 1), results.Script("good", (), 1)))
    work, page = tmp_path / "work", tmp_path / "RESULTS.md"
    monkeypatch.setattr(sys, "argv", ["results.py", "--work", str(work), "--page", str(page), "--patience", "0"])
    with pytest.raises(SystemExit, match="failed: bad"):
        results.main()
    text = page.read_text()
    assert "| speed | >= 2 | 1.25 | **no** | `good.py` |" in text
    assert "a table" in text
    assert "written: somewhere" not in text
    assert "P, 2 cores, no GPU" in text
    assert "torch 9.9" in text
    assert "no luck" in (work / "bad.log").read_text()

    # Once mended, the second call runs what is left, and only that.
    monkeypatch.setattr(results, "SCRIPTS", (results.Script("bad", (), 1), results.Script("good", (), 1)))
    (tmp_path / "good.py").write_text("raise SystemExit('must not run')")
    capsys.readouterr()
    results.main()
    assert "good" not in capsys.readouterr().out
    assert "## bad" in page.read_text()


def test_every_script_of_the_results_exists(results: Any, repo: Path) -> None:
    for script in results.SCRIPTS:
        assert (repo / "benchmarks" / f"{script.name}.py").is_file()
        assert script.name in LEAST
    assert sum(script.minutes for script in results.SCRIPTS) <= 60
    assert (repo / results.GPU.split()[1]).is_file()
