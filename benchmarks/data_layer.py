# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the data layer at the size of the largest public data sets, one row per task.

    python benchmarks/data_layer.py [--images 400000] [--films 10000] [--out data_layer.json]

Each task runs in a process of its own, so that the peak is that task's; it includes Python and the imports (about
0.9 GB). Rows that start with ``python -m`` are whole commands, imports and printing included; the others are their
parts. The table of ``--images`` rows is synthetic, in the documented schema; its image files do not exist and are not
looked for. The rows that read pixels (those of "images") do so of ``--films`` distinct PNG files of 96 x 96 pixels, too
small for decoding to count: they show what a file costs besides. For decoding see ``cache.py`` and ``reading.py``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]


def write_chexpert(folder: Path, images: int, seed: int = 0) -> None:
    """Write a ``train.csv`` of CheXpert's form: 1 to 9 images per patient, labels as frequent as in the original."""
    from monai_cxrssl.data.sources.layouts.chexpert import CLASSES, COLUMNS

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


def write_films(folder: Path, films: int, side: int = 96, seed: int = 0) -> None:
    """Write PNG files that all differ, three per patient, as a plain folder of images."""
    import cv2

    draw = np.random.default_rng(seed)
    for number in range(films):
        patient = folder / "films" / f"patient{number // 3:06d}"
        patient.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (9, 9), dtype=np.uint8)
        cv2.imwrite(str(patient / f"{number}.png"), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


def index_chexpert(folder: Path) -> dict[str, Any]:
    """Read the csv into a datalist."""
    from monai_cxrssl.data.sources.layouts import chexpert

    start = time.perf_counter()
    datalist = chexpert.read(folder, policy="chexpert", check_files=False)
    seconds = time.perf_counter() - start
    return {"images": len(datalist.splits["training"]), "seconds": seconds}


def command(*words: str, films: bool = False) -> Callable[[Path], dict[str, Any]]:
    """A task that runs ``python -m monai_cxrssl`` with these words in the folder of the data sets.

    Args:
        words: of the command line.
        films: it works on the images, not on the table.
    """

    def run(folder: Path) -> dict[str, Any]:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "monai_cxrssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
        return {"images": _films(folder) if films else _count(folder), "seconds": seconds}

    return run


def open_only(folder: Path) -> dict[str, Any]:
    """Open a cache and read its first image."""
    from monai_cxrssl.data import CachedImages

    start = time.perf_counter()
    cached = CachedImages(folder / "cache")
    cached.image(0)
    return {"images": len(cached), "seconds": time.perf_counter() - start}


def split_only(folder: Path) -> dict[str, Any]:
    """Divide a datalist that is in memory."""
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.datalists.split import split_datalist

    datalist = load_datalist(folder / "d.json", check_files=False)
    start = time.perf_counter()
    split_datalist(datalist)
    return {"images": len(datalist.splits["training"]), "seconds": time.perf_counter() - start}


def save_only(folder: Path) -> dict[str, Any]:
    """Hash a split that is in memory, and write its file."""
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.datalists.split import save_split

    datalist = load_datalist(folder / "s.json", check_files=False)
    start = time.perf_counter()
    save_split(datalist, folder / "again.json")
    return {"images": _count(folder), "seconds": time.perf_counter() - start}


def _films(folder: Path) -> int:
    return sum(1 for _ in (folder / "films").rglob("*.png"))


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
    "python -m monai_cxrssl index, images": command("index", "films", "--out", "f.json", films=True),
    "python -m monai_cxrssl cache, images": command("cache", "f.json", "--out", "cache", "--side", "64", films=True),
    "open that cache": open_only,
    "python -m monai_cxrssl audit, images": command("audit", "f.json", films=True),
    "python -m monai_cxrssl audit, images of that cache": command(
        "audit", "f.json", "--cache_dir", "cache", films=True
    ),
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
    parser.add_argument("--films", type=int, default=10_000, help="small PNG files to index, cache and audit")
    parser.add_argument("--out", "--output", dest="output", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_chexpert(Path(folder), options.images)
        write_films(Path(folder), options.films)
        results = {task: measure(task, Path(folder)) for task in TASKS}
    # Only now: a new process starts with the peak of its parent, which torch would raise.
    from measure import machine, write_json

    where = machine(("numpy", "pandas", "monai"))
    print(", ".join(f"{key} {value}" for key, value in where.items()) + "\n")
    print(table(results))
    settings = {"images": options.images, "films": options.films}
    write_json({"machine": where, "settings": settings, "results": results}, options.output)


def _run(task: str, folder: Path) -> dict[str, Any]:
    result = TASKS[task](folder)
    # Of a command, the child is what counts; this process then holds next to nothing.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Linux counts in kilobytes, macOS in bytes.
    return result | {"peak_gb": peak / (1e9 if sys.platform == "darwin" else 1e6)}


if __name__ == "__main__":
    main()
