# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Inference of a folder, end to end as a bundle runs it, against the bare forward pass at the same batch.

    python benchmarks/inference.py [--films 192] [--batch_size 16] [--turns 3] [--threads 1] [--out inference.json]

Images are synthesised at published sizes (``public_formats.py``) and go through the very objects of
``configs/inference.json``: decoded by threads, predicted, and written as ``predictions.csv``, masks and DICOM SEG. The
bare forward pass takes as many batches that lie in memory already, in turns with the runs. ``--threads`` is torch's:
with one per core there is nothing left for decoding and writing but the network's own time, so the default leaves the
other cores to them. "Ours" is the processor time of a run, all threads together, less that of the bare forward pass:
what decoding, warnings and writing cost, wherever they are done; a network on all cores is slowed by that much.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import judged, machine, order_of, print_targets, table, write_json
from public_formats import KINDS, write
from reading import synthetic_film, write_dicom

from monai_cxrssl.data import InferenceDataset, InferenceLoader, decoded_side, open_images
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.handlers import InferenceWriter
from monai_cxrssl.networks import MultiTaskNet, PredictionHead
from monai_cxrssl.transforms import ResizeCXR

__all__ = ["main"]

CLASSES = ("negative", "typical", "indeterminate", "atypical")
LEAST_SHARE = ">= 0.9"


class Run(NamedTuple):
    """A bundle's inference on images of one kind."""

    bundle: str
    film: str
    classes: tuple[str, ...]
    decoder: str | None
    cached: bool = False


RUNS = (
    Run("classification", "mimic.jpg", CLASSES, None),
    Run("lung_segmentation", "mimic.jpg", (), "Unet"),
    Run("multitask", "film.dcm", CLASSES, "Unet"),
    Run("multitask, from a cache", "film.dcm", CLASSES, "Unet", True),
)


def write_films(folder: Path, name: str, count: int, scale: float) -> list[dict[str, Any]]:
    """Write the images of a run, links to one file, and return their items."""
    folder.mkdir()
    if name.endswith(".dcm"):
        first = folder / name
        write_dicom(first, synthetic_film(max(96, round(2000 * scale))), "1.2.840.10008.1.2.1")
    else:
        first = write(next(kind for kind in KINDS if kind.file == name), folder, scale)
    films = [first.with_stem(f"{number:05}") for number in range(count)]
    for film in films:
        os.link(first, film)
    return [{"image": str(film), "patient_id": film.stem} for film in films]


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and seconds of processor time, of all threads, that a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(run: Run, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Time a run and the bare forward pass in turns."""
    items = write_films(folder / "films", run.film, options.films, options.scale)
    network = MultiTaskNet(options.encoder, len(run.classes), decoder=run.decoder).eval()
    resize, head = ResizeCXR(options.image_size), PredictionHead(classes=run.classes)
    side, cache = decoded_side(options.image_size), folder / "cache" if run.cached else None
    if cache is not None:
        open_images(items, side, cache, progress=False)
    batch = torch.rand(options.batch_size, 1, options.image_size, options.image_size)

    def end_to_end(films: list[dict[str, Any]]) -> None:
        images = open_images(films, side, cache, max_unreadable=1.0, progress=False, stream=True)
        loader = InferenceLoader(InferenceDataset(images, resize), options.batch_size, options.num_workers)
        writer = InferenceWriter(folder / "out", images, head, resize)
        MultiTaskPredictor("cpu", loader, network, classes=run.classes, amp=False, val_handlers=[writer]).run()

    def forward() -> None:
        with torch.no_grad():
            for start in range(0, options.films, options.batch_size):
                network(batch[: min(options.batch_size, options.films - start)])

    calls = {"run": lambda: end_to_end(items), "forward": forward}
    end_to_end(items[: options.batch_size])  # imports what writes
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(options.turns):
        for name in order_of(list(calls), turn):
            times[name].append(timed(calls[name]))
    rate = {name: options.films / statistics.median(wall for wall, _ in times[name]) for name in calls}
    pairs = list(zip(times["forward"], times["run"], strict=True))
    return {
        "run": run.bundle,
        "film": run.film,
        "forward, films/s": rate["forward"],
        "run, films/s": rate["run"],
        "run / forward": statistics.median(bare[0] / ours[0] for bare, ours in pairs),
        "forward, processor ms/film": 1e3 * statistics.median(bare[1] for bare, _ in pairs) / options.films,
        "ours, processor ms/film": 1e3 * statistics.median(ours[1] - bare[1] for bare, ours in pairs) / options.films,
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=192, help="images of a folder")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in the forward pass")
    parser.add_argument("--num_workers", default="auto", help="threads that decode")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--scale", type=float, default=1.0, help="of the published sizes, for a quick try")
    parser.add_argument("--runs", type=int, nargs="+", default=list(range(len(RUNS))), help="numbers of the runs")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    where = machine(["monai", "opencv-python-headless", "highdicom"])
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    rows = []
    for number in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(RUNS[number], Path(folder), options))
    print(f"\n{options.encoder}, {options.image_size} px, batch {options.batch_size}, {options.films} images, medians")
    print(table(rows, list(rows[0])))
    figure = "films/s over the bare forward pass"
    targets = [
        judged(f"inference, {row['run']}, {row['film']}: {figure}", row["run / forward"], LEAST_SHARE) for row in rows
    ]
    print_targets(targets)
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    write_json({"settings": settings, "machine": where, "runs": rows, "targets": targets}, options.out)


if __name__ == "__main__":
    main()
