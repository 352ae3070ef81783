# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory of loader workers over epochs, with as many items as a large archive has: does it grow?

    python benchmarks/memory.py [--items 400000] [--samples 50000] [--epochs 4] [--workers 2] [--out memory.json]

A forked worker shares the pages of its parent until one of them writes to a page, and Python writes to an object by
looking at it: a worker that touches dictionaries copies the datalist piece by piece, epoch after epoch. Shown are the
bytes that each worker has for itself (``Private_Clean`` and ``Private_Dirty`` of Linux), after each epoch, for this
package's ``PairDataset`` through ``pretext_loader``, and for a data set that looks at its item, as one over a list of
dictionaries does. Pixels are a few films in memory, since only the items are in question here.
"""

from __future__ import annotations

import argparse
import random
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, table, write_json
from torch.utils.data import DataLoader

from monai_cxrssl.data import PairDataset, PairSampler, patient_bags, pretext_loader
from monai_cxrssl.transforms import MultiView

FINDINGS = 14


class FewFilms:
    """An image store of many items over the pixels of a few films."""

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
        """Pixels of one of the few films."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--samples", type=int, default=50_000, help="of each epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit(
            "This benchmark reads /proc/PID/smaps_rollup, which this system does not have; run it on Linux."
        )

    images = FewFilms(options.items)
    bags = patient_bags(images.items)
    transform = MultiView(size=24, return_uint8=True)
    rows: list[dict[str, Any]] = []
    for name, kind in (("PairDataset", PairDataset), ("a data set that looks at its items", Touching)):
        sampler = PairSampler(bags, simclr_epochs=None)
        loader = pretext_loader(kind(images, transform), sampler, options.batch_size, num_workers=options.workers)
        found = epochs(loader, sampler, options)
        rows.append(
            {
                "MiB of a worker after epoch": name,
                **{str(epoch): value for epoch, value in enumerate(found, start=1)},
                "growth": found[-1] - found[0],
            }
        )
        del loader
    report = {"machine": machine(), "options": {**vars(options), "out": None}, "rows": rows}
    print(" ".join(f"{key}={value}" for key, value in report["machine"].items()))
    print(f"{options.items} items, {options.samples} samples per epoch, {options.workers} workers\n")
    print(table(rows, list(rows[0])))
    write_json(report, options.out)


if __name__ == "__main__":
    main()
