# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the soak makes of its samples; the run itself takes half an hour and is started by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc of Linux")


@pytest.fixture
def soak(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import soak

    return soak


def samples(soak, per_hour: float) -> list[dict[str, float]]:
    """Half an hour of samples every 5 s with noise that lasts; the first five minutes are far higher."""
    random = np.random.default_rng(0)
    noise, rows = 0.0, []
    for minute in np.arange(0, 30, 1 / 12):
        noise = 0.8 * noise + random.normal()
        value = 500 + per_hour * minute / 60 + noise + 300 * (minute < 5)
        rows.append({"minute": float(minute), **dict.fromkeys(soak.QUANTITIES, float(value))})
    return rows


@pytest.mark.parametrize("per_hour", [0, 40, -15])
def test_the_slope_is_that_of_the_line_after_the_warm_up(soak, per_hour):
    rows = samples(soak, per_hour)
    found = soak.slope([row["minute"] for row in rows], [row["memory_mib"] for row in rows], 5)
    assert found["low"] <= per_hour <= found["high"]
    assert found["low"] <= found["per_hour"] <= found["high"]
    assert found["high"] - found["low"] < 15
    assert found["highest"] < 550


def test_a_process_and_its_children_are_seen_with_what_they_hold(soak, tmp_path):
    code = (
        "import subprocess, sys, time; data = bytearray(64 << 20); data[::4096] = bytes(len(data[::4096]));"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(inner.pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    inner = int(process.stdout.readline())
    try:
        assert soak.descendants(process.pid) == [process.pid, inner]
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "a.pt").write_bytes(bytes(2**20))
        (tmp_path / "log.txt").write_bytes(bytes(2**19))
        found = soak.sample(process.pid, tmp_path)
        assert 64 < found["trainer_mib"] < 90
        assert 0 < found["loaders_mib"] < 40
        assert found["memory_mib"] == pytest.approx(found["trainer_mib"] + found["loaders_mib"])
        assert (found["threads"], found["shared_files"]) == (2, 0)
        assert (found["checkpoints_mib"], found["rest_mib"]) == (1, 0.5)
    finally:
        process.kill()
        os.kill(inner, 9)
        process.wait()
    assert soak.sample(process.pid, tmp_path) is None


def test_files_of_shared_memory_are_counted_once(soak):
    before = soak.shared_memory_files([os.getpid()])
    block = shared_memory.SharedMemory(create=True, size=4096)
    try:
        assert soak.shared_memory_files([os.getpid()]) == before + 1
    finally:
        block.close()
        block.unlink()
    assert soak.shared_memory_files([os.getpid()]) == before


def test_the_picture_and_the_page_take_the_figures(soak, tmp_path, monkeypatch):
    from tests.reliability import table

    rows = samples(soak, 3)
    minutes = [row["minute"] for row in rows]
    report = {
        "machine": {"cores": 2, "torch": "2.8", "python": "3.11", "pytorch-ignite": "0.5"},
        "options": {"minutes": 30.0, "warm_up": 5.0, "every": 5.0, "workers": 2},
        "quantities": soak.QUANTITIES,
        "done": soak.work_done("epoch 7/100 (simclr): …\nSIGTERM: the run was stopped after iteration 1234 of 5000"),
        "exit_status": 75,
        "slopes": {name: soak.slope(minutes, [row[name] for row in rows], 5) for name in soak.QUANTITIES},
        "samples": rows,
    }
    (tmp_path / "images").mkdir()
    soak.draw(report, tmp_path / "images" / "soak.png")
    assert Image.open(tmp_path / "images" / "soak.png").size == (800, 850)
    (tmp_path / "images" / "soak.json").write_text(json.dumps(report))
    monkeypatch.setattr(table, "PAGE", tmp_path / "reliability.md")
    section = table.long_run()
    assert "7 epochs,\n1,234 iterations; 2 cores" in section
    assert len([line for line in section.splitlines() if line.startswith("| ")]) == 2 + len(soak.QUANTITIES)
