# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory: the peak of each bundle's default run, and that of loader workers over epochs. Does it grow?

    python benchmarks/memory.py [--items 400000] [--samples 50000] [--epochs 4] [--workers 2] [--bundles simclr moco]
        [--max_epochs 3] [--phantom_patients 160] [--out memory.json]

First the bundles, one after the other: the default run on the phantom, cut down to ``--max_epochs`` epochs and
``--phantom_patients`` patients, in a process of its own; shown is the most memory that it held, Python and imports
included. Networks, batches and image sizes are those of the default run.

Then the workers. A forked worker shares the pages of its parent until one of them writes to a page, and Python writes
to an object by looking at it: a worker that touches dictionaries copies the datalist piece by piece, epoch after epoch.
Shown are the bytes that each worker has for itself (``Private_Clean`` and ``Private_Dirty`` of Linux), after each
epoch, for this package's ``PairDataset`` through ``training_loader``, and for a data set that looks at its item, as one
over a list of dictionaries does. Pixels are a few images in memory, since only the items are in question here. "Flat"
is taken as growing by no more than 5 % from the first epoch to the last.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
from measure import judged, machine, print_targets, table, write_json
from torch.utils.data import DataLoader

from monai_cxrssl.data import PairDataset, PairSampler, patient_bags, training_loader
from monai_cxrssl.transforms import MultiView

__all__ = ["main"]

FINDINGS = 14
REPO = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parent.name for path in (REPO / "bundles").glob("*/train.json"))


class FewFilms:
    """An image store of many items over the pixels of a few images."""

    def __init__(self, count: int) -> None:
        draw = random.Random(0)
        self.items: list[dict[str, Any]] = [
            {
                "image": f"archive/patient{number // 3:06d}/study{number % 3}/view1_frontal.jpg",
                "patient_id": f"patient{number // 3:06d}",
                "study_id": f"patient{number // 3:06d}/study{number % 3}",
                "view_position": "PA" if number % 2 else "AP",
                "age": draw.randint(18, 95),
                "label": [draw.choice((0, 1, None)) for _ in range(FINDINGS)],
            }
            for number in range(count)
        ]
        self.kept = list(range(count))
        self.unreadable: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []
        self.films = np.random.default_rng(0).integers(0, 256, (16, 64, 64), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> np.ndarray:
        """Pixels of one of the few images."""
        return self.films[index % len(self.films)]

    @property
    def in_memory(self) -> bool:
        """The pixels are in memory."""
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return self.films.nbytes


class Touching(PairDataset):
    """Looks at the item of every sample."""

    def __getitem__(self, draw: Any) -> dict[str, Any]:
        item = self.images.items[draw if isinstance(draw, int) else draw[2]]
        known = sum(value is not None for value in item["label"])
        return {**super().__getitem__(draw), "known": known}


def private_mib(process: int) -> float:
    """Memory that a process shares with no other, in MiB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def epochs(loader: DataLoader, sampler: PairSampler, options: argparse.Namespace) -> list[float]:
    """Load some batches of each epoch; the mean memory of the workers after each, in MiB."""
    found = []
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)
        batches = iter(loader)
        for _ in islice(batches, options.samples // options.batch_size):
            pass
        workers = [private_mib(worker.pid) for worker in active_children() if worker.pid is not None]
        found.append(sum(workers) / len(workers))
        del batches
    return found


def bundle_peak(name: str, options: list[str]) -> dict[str, Any]:
    """Run a bundle; the peak of its processes, in GB, and its seconds; of a failed run the row tells the error."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--config_file", f"bundles/{name}/train.json", "--output_dir", folder, "--model_path"]
        command = [sys.executable, "-m", "monai.bundle", "run", *words, f"{folder}/model.pt", *options]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if done.returncode:
        return {"bundle": name, "error": " ".join(done.stderr.strip().splitlines()[-1:]) or f"status {done.returncode}"}
    # Linux counts in kilobytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return {"bundle": name, "peak_gb": peak, "seconds": seconds}


def bundles(names: list[str], options: list[str]) -> list[dict[str, Any]]:
    """Peaks of the bundles, each of a process that has no other children."""
    rows = []
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(bundle_peak, (name, options)))
    return rows


def workers_over_epochs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Private memory of the workers after each epoch, and its growth, of both data sets."""
    images = FewFilms(options.items)
    bags = patient_bags(images.items)
    transform = MultiView(size=24, return_uint8=True)
    rows: list[dict[str, Any]] = []
    for name, kind in (("PairDataset", PairDataset), ("a data set that looks at its items", Touching)):
        sampler = PairSampler(bags, simclr_epochs=None)
        loader = training_loader(kind(images, transform), sampler, options.batch_size, num_workers=options.workers)
        found = epochs(loader, sampler, options)
        rows.append(
            {
                "MiB of a worker after epoch": name,
                **{str(epoch): value for epoch, value in enumerate(found, start=1)},
                "growth": found[-1] - found[0],
            }
        )
        del loader
    return rows


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--samples", type=int, default=50_000, help="of each epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--bundles", nargs="*", default=BUNDLES, choices=BUNDLES, help="none for no bundles")
    parser.add_argument("--max_epochs", type=int, default=3, help="of the bundles")
    parser.add_argument("--phantom_patients", type=int, default=160, help="of the bundles")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit(
            "This benchmark reads /proc/PID/smaps_rollup, which this system does not have; run it on Linux."
        )

    shortened = ["--max_epochs", str(options.max_epochs), "--phantom_patients", str(options.phantom_patients)]
    peaks = bundles(options.bundles, shortened)
    rows = workers_over_epochs(options)
    own = rows[0]
    targets = [
        judged(
            f"growth of a worker's memory over {options.epochs} epochs, {options.items:,} items, %",
            100 * own["growth"] / own["1"],
            "<= 5",
        )
    ]
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    report = {"machine": machine(("monai",)), "settings": settings, "bundles": peaks, "rows": rows, "targets": targets}
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    if peaks:
        print(f"\nbundles, default run with {' '.join(shortened)}")
        print(table(peaks, ["bundle", "peak_gb", "seconds"]))
        for row in peaks:
            if "error" in row:
                print(f"{row['bundle']} failed: {row['error']}")
    print(f"\n{options.items} items, {options.samples} samples per epoch, {options.workers} workers")
    print(table(rows, list(rows[0])))
    print_targets(targets)
    write_json(report, options.out)


if __name__ == "__main__":
    main()
