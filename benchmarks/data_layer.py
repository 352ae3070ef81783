# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the data layer at the size of the largest public data sets, one row per task.

    python benchmarks/data_layer.py [--images 400000] [--output data_layer.json]

Each task runs in a process of its own, so that the peak is that task's; it includes Python and the imports (about
0.9 GB). Rows that start with ``python -m`` are whole commands, imports and printing included; the others are their
parts. The data is synthetic, in the documented schema; the image files do not exist and are not looked for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]


def write_chexpert(folder: Path, images: int, seed: int = 0) -> None:
    """Write a ``train.csv`` of CheXpert's form: 1 to 9 films per patient, labels as frequent as in the original."""
    from monai_cxrssl.data.layouts.chexpert import CLASSES, COLUMNS

    draw = np.random.default_rng(seed)
    cells = np.array(["", "1.0", "0.0", "-1.0"])
    with (folder / "train.csv").open("w", encoding="utf-8") as stream:
        stream.write(",".join(COLUMNS) + "\n")
        patient = written = 0
        while written < images:
            patient += 1
            sex, age = draw.choice(["Female", "Male"]), draw.integers(18, 91)
            for study in range(1, min(int(draw.integers(1, 10)), images - written) + 1):
                view = "Lateral," if draw.random() < 0.15 else f"Frontal,{draw.choice(['AP', 'PA'])}"
                labels = ",".join(cells[draw.choice(4, len(CLASSES), p=[0.7, 0.17, 0.09, 0.04])])
                side = view.split(",")[0].lower()
                stream.write(f"CheXpert-v1.0/train/patient{patient:06d}/study{study}/view1_{side}.jpg,")
                stream.write(f"{sex},{age},{view},{labels}\n")
                written += 1


def index_chexpert(folder: Path) -> dict[str, Any]:
    """Read the csv into a datalist."""
    from monai_cxrssl.data.layouts import chexpert

    start = time.perf_counter()
    datalist = chexpert.read(folder, policy="chexpert", check_files=False)
    seconds = time.perf_counter() - start
    return {"images": len(datalist.splits["training"]), "seconds": seconds}


def command(*words: str) -> Callable[[Path], dict[str, Any]]:
    """A task that runs ``python -m monai_cxrssl`` with these words in the folder of the data set."""

    def run(folder: Path) -> dict[str, Any]:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "monai_cxrssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        return {"images": _count(folder), "seconds": time.perf_counter() - start}

    return run


def split_only(folder: Path) -> dict[str, Any]:
    """Divide a datalist that is in memory."""
    from monai_cxrssl.data.datalist import load_datalist
    from monai_cxrssl.data.split import split_datalist

    datalist = load_datalist(folder / "d.json", check_files=False)
    start = time.perf_counter()
    split_datalist(datalist)
    return {"images": len(datalist.splits["training"]), "seconds": time.perf_counter() - start}


def save_only(folder: Path) -> dict[str, Any]:
    """Hash a split that is in memory, and write its file."""
    from monai_cxrssl.data.datalist import load_datalist
    from monai_cxrssl.data.split import save_split

    datalist = load_datalist(folder / "s.json", check_files=False)
    start = time.perf_counter()
    save_split(datalist, folder / "again.json")
    return {"images": _count(folder), "seconds": time.perf_counter() - start}


def _count(folder: Path) -> int:
    with (folder / "train.csv").open("rb") as stream:
        return sum(1 for _ in stream) - 1


# Name of the row, and what it runs on the folder of the synthetic data set; in this order, since one needs the other's
# file.
TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "read a CheXpert csv": index_chexpert,
    "python -m monai_cxrssl index --no-check": command("index", ".", "--out", "d.json", "--no-check"),
    "python -m monai_cxrssl split": command("split", "d.json", "--out", "s.json"),
    "divide": split_only,
    "hash and save": save_only,
    "python -m monai_cxrssl audit --no-pixels": command("audit", "s.json", "--no-pixels"),
}


def measure(task: str, folder: Path) -> dict[str, Any]:
    """Run one task in a fresh process.

    Returns:
        what the task tells, and ``peak_gb``, the most memory its process held.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (task, folder))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Format the results as a Markdown table with aligned columns."""
    width = max(len(task) for task in results)
    lines = [
        f"| {'task':<{width}} | {'images':>9} | seconds | peak memory (GB) |",
        f"|{'-' * (width + 2)}|----------:|--------:|-----------------:|",
    ]
    for task, row in results.items():
        lines.append(f"| {task:<{width}} | {row['images']:>9,} | {row['seconds']:>7.1f} | {row['peak_gb']:>16.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run every task and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400_000, help="rows of the synthetic csv")
    parser.add_argument("--output", type=Path, default=None, help="also write the figures to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_chexpert(Path(folder), options.images)
        results = {task: measure(task, Path(folder)) for task in TASKS}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    packages = {name: version(name) for name in ("numpy", "pandas", "monai")}
    print(machine + "".join(f", {name} {number}" for name, number in packages.items()))
    print(table(results))
    if options.output:
        told = {"machine": machine, "packages": packages, "results": results}
        options.output.write_text(json.dumps(told, indent=1) + "\n")


def _run(task: str, folder: Path) -> dict[str, Any]:
    result = TASKS[task](folder)
    # Of a command, the child is what counts; this process then holds next to nothing.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Linux counts in kilobytes, macOS in bytes.
    return result | {"peak_gb": peak / (1e9 if sys.platform == "darwin" else 1e6)}


if __name__ == "__main__":
    main()
