# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals over patients and the whole report on a test set of usual size, against a plain loop over scikit-learn.

    python benchmarks/evaluation.py [--images 25000] [--classes 14] [--resamples 1000] [--out evaluation.json]

The images, 1 to 6 per patient, have a share of unknown labels and classes of 1 to 20 %, as ChestX-ray14's test set of
25,596. Three tasks, each in a process of its own with one thread: ``ranking_figures`` (AUC and average precision of
each class and their means); the precision alone by ``sklearn.metrics.average_precision_score`` on the images of the
drawn patients, of which only ``--loop_resamples`` are run, so that its seconds are extrapolated in proportion; and the
whole report, ``write_report`` on the table of predictions, with its page, figures and files. Peak memory is what a task
adds to that of its imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main"]

# The tasks run in new processes, which inherit this; a thread per core would compare core counts, not methods.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def synthetic_test_set(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores ``(N, C)`` float64 in [0, 1], labels ``(N, C)`` float32 with 5 % NaN, and patient numbers ``(N,)``."""
    draw = np.random.default_rng(seed)
    patients = np.repeat(np.arange(images), draw.integers(1, 7, images))[:images]
    labels = (draw.random((images, classes)) < np.linspace(0.01, 0.2, classes)).astype(np.float32)
    scores = 1 / (1 + np.exp(3 - 1.5 * labels - draw.standard_normal((images, classes))))
    labels[draw.random(labels.shape) < 0.05] = np.nan
    return scores, labels, patients


def ours(settings: dict[str, int]) -> dict[str, Any]:
    """``ranking_figures`` with all resamples."""
    from monai_cxrssl.metrics import Cohort, ResamplingPlan, ranking_figures

    scores, labels, patients = synthetic_test_set(settings["images"], settings["classes"])
    started, before = time.perf_counter(), peak_bytes()
    found = ranking_figures(Cohort.of(scores, labels, patients), ResamplingPlan(settings["resamples"]))
    return _told(started, before, settings["resamples"], {"macro_ap": found["macro_ap"].value})


def scikit_learn(settings: dict[str, int]) -> dict[str, Any]:
    """The loop that one would write: draw patients, join their images, score class after class."""
    from sklearn.metrics import average_precision_score

    scores, labels, patients = synthetic_test_set(settings["images"], settings["classes"])
    draw = np.random.default_rng(0)
    starts = np.append(np.flatnonzero(np.diff(patients, prepend=-1)), len(patients))

    def precision(rows: np.ndarray) -> float:
        found = []
        for number in range(labels.shape[1]):
            label, score = labels[rows, number], scores[rows, number]
            known = ~np.isnan(label)
            if len(np.unique(label[known])) == 2:
                found.append(average_precision_score(label[known], score[known]))
        return float(np.mean(found))

    value = precision(np.arange(len(labels)))
    started, before = time.perf_counter(), peak_bytes()
    for _ in range(settings["loop_resamples"]):
        drawn = draw.integers(0, len(starts) - 1, len(starts) - 1)
        precision(np.concatenate([np.arange(starts[patient], starts[patient + 1]) for patient in drawn]))
    told = _told(started, before, settings["loop_resamples"], {"macro_ap": value})
    told["seconds_measured"] = told["seconds"]
    told["seconds"] *= settings["resamples"] / settings["loop_resamples"]
    return told | {"extrapolated_to_resamples": settings["resamples"]}


def whole_report(settings: dict[str, int]) -> dict[str, Any]:
    """``write_report`` on a saved table, with all resamples."""
    from monai_cxrssl.data import Predictions, save_predictions
    from monai_cxrssl.report import write_report

    scores, labels, patients = synthetic_test_set(settings["images"], settings["classes"])
    items = [
        {"image": f"{number}.png", "patient_id": str(patient), "sex": "FM"[patient % 2], "age": 20 + patient % 60}
        | {"view_position": ("PA", "AP")[number % 2], "split": "test"}
        for number, patient in enumerate(patients.tolist())
    ]
    names = [f"class{number}" for number in range(settings["classes"])]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "predictions.csv"
        save_predictions(Predictions(names, "multi_label", items, scores, labels), table)
        started, before = time.perf_counter(), peak_bytes()
        page = write_report(table, Path(folder) / "report", resamples=settings["resamples"])
        written = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file())
        return _told(started, before, settings["resamples"], {"written_mb": written / 1e6})


TASKS: dict[str, Callable[[dict[str, int]], dict[str, Any]]] = {
    "ranking_figures": ours,
    "scikit-learn loop": scikit_learn,
    "write_report": whole_report,
}


def peak_bytes() -> int:
    """Most memory that this process has held so far."""
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _told(started: float, before: int, resamples: int, more: dict[str, Any]) -> dict[str, Any]:
    seconds = time.perf_counter() - started
    peak = peak_bytes()
    return {"seconds": seconds, "resamples": resamples, "peak_gb": peak / 1e9, "added_gb": (peak - before) / 1e9} | more


def _run(task: str, settings: dict[str, int]) -> dict[str, Any]:
    return TASKS[task](settings)


def measure(settings: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Run each task in a fresh process."""
    results = {}
    for task in TASKS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[task] = pool.apply(_run, (task, settings))
    return results


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--loop_resamples", type=int, default=5, help="resamples of the scikit-learn loop that are run")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    results = measure(settings)
    ratio = results["scikit-learn loop"]["seconds"] / results["ranking_figures"]["seconds"]
    # Only now: a new process starts with the peak of its parent, which torch would raise.
    from measure import machine, table, write_json

    where = machine(("numpy", "scikit-learn", "pandas", "matplotlib", "monai"))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(f"{options.images:,} images, {options.classes} classes, {options.resamples:,} resamples, one thread\n")
    shown = {"resamples": "resamples run", "added_gb": "added memory (GB)", "peak_gb": "peak with imports (GB)"}
    rows = [
        {"task": task} | {shown.get(key, key): value for key, value in row.items()} for task, row in results.items()
    ]
    print(table(rows, ["task", "seconds", *shown.values()]))
    print(
        f"\nThe loop's seconds are extrapolated from {options.loop_resamples} resamples to {options.resamples:,}; "
        f"ranking_figures is {ratio:.0f} times faster."
    )
    report = {"machine": where, "settings": settings, "results": results, "times_faster_than_loop": ratio}
    write_json(report, options.out)


if __name__ == "__main__":
    main()
