# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Many files in flight, and all cores at work, against one after the other.

    python benchmarks/archives.py [--files 2000] [--latency_ms 20] [--films 60] [--patients 320] [--repeats 3] [--out J]

``index`` of a folder of DICOM files on a disk that takes its time to open each, with as many files in flight as the
package has and with one; both must write the same datalist. ``cache`` over JPEG and DICOM images of 2544 x 3056 with
one and two threads. Phantoms drawn by one and two processes, which must write the same bytes. Cache and phantom need
two idle cores; the index needs one, and its wait stands in for the disk's. Medians over turns.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import in_turns, judged, machine, print_targets, ratio, table, write_json

from monai_cxrssl.apps.cli.main import main as command
from monai_cxrssl.data import build_cache
from monai_cxrssl.files import FILES_IN_FLIGHT, ordered_map
from monai_cxrssl.phantom import make_phantom_dataset

__all__ = ["main"]

SIDES = (3056, 2544)


@contextmanager
def slow_disk(folder: Path, seconds: float) -> Iterator[None]:
    """Let every file below a folder take its time to open."""
    real = os.open

    def slow(path: Any, *args: Any, **options: Any) -> int:
        if str(path).startswith(str(folder)):
            time.sleep(seconds)
        return real(path, *args, **options)

    os.open = slow  # type: ignore[assignment]
    try:
        yield
    finally:
        os.open = real


def index(folder: Path, out: Path, in_flight: int) -> None:
    """Run ``index`` with so many files in flight."""
    defaults = ordered_map.__defaults__
    ordered_map.__defaults__ = (in_flight, *(defaults or ())[1:])
    try:
        with redirect_stdout(io.StringIO()):
            if command(["index", str(folder), "--out", str(out), "--json"]):
                raise SystemExit("index failed")
    finally:
        ordered_map.__defaults__ = defaults


def archive(folder: Path, phantom: Path, files: int) -> Path:
    """Copy one small DICOM file to many names."""
    source = next(phantom.rglob("*.dcm"))
    for number in range(files):
        path = folder / f"{number % 100:02d}" / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    return folder


def large_films(folder: Path, films: int) -> dict[str, list[dict[str, str]]]:
    """Write a JPEG image of the size of MIMIC-CXR-JPG's, a DICOM image of its pixels, and copies of both."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    rng = np.random.default_rng(0)
    coarse = rng.normal(128, 40, (24, 20)).astype(np.float32)
    pixels = cv2.resize(coarse, SIDES[::-1], interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, SIDES)
    cv2.imwrite(str(folder / "film.jpg"), np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid(), "DX"
    ds.Rows, ds.Columns = SIDES
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = np.clip(pixels * 16, 0, 4095).astype("<u2").tobytes()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.save_as(folder / "film.dcm", enforce_file_format=True)
    items: dict[str, list[dict[str, str]]] = {}
    for kind in ("jpg", "dcm"):
        items[kind] = [{"image": str(folder / f"{n}.{kind}"), "patient_id": str(n)} for n in range(films)]
        for item in items[kind]:
            os.link(folder / f"film.{kind}", item["image"])
    return items


def digest(folder: Path) -> str:
    """Return a hash of the names and bytes below a folder."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def anew(folder: Path) -> Path:
    """Return the path of a folder that is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="DICOM files to index")
    parser.add_argument("--latency_ms", type=float, default=20.0, help="wait of each open")
    parser.add_argument("--films", type=int, default=60, help="large images to cache, of each format")
    parser.add_argument("--patients", type=int, default=320, help="phantom patients to draw")
    parser.add_argument("--repeats", type=int, default=3, help="turns of cache and phantom; the index has one")
    parser.add_argument("--out", "--output", dest="output", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    rows, targets = [], []

    def add(what: str, count: int, seconds: dict[str, list[float]], slow: str, fast: str, target: str) -> None:
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        rows.extend({"what": f"{what}, {name}", "per second": count / s, "seconds": s} for name, s in medians.items())
        targets.append(judged(f"{what}: {slow} against {fast}", ratio(seconds, slow, fast), target))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_phantom_dataset(folder / "one", patients=1, size=64, images_per_patient=(1, 1), progress=False)
        films = archive(folder / "archive", folder / "one", options.files)
        lists = {f"{count} in flight": folder / f"{count}.json" for count in (1, FILES_IN_FLIGHT)}
        slow, fast = lists
        with slow_disk(films, options.latency_ms / 1000):
            indexing = {what: lambda out=out: index(films, out, int(out.stem)) for what, out in lists.items()}
            seconds = in_turns(indexing, 1, warm_up=0)
        if lists[slow].read_bytes() != lists[fast].read_bytes():
            raise SystemExit("The two datalists differ.")
        add("index", options.files, seconds, slow, fast, ">= 8")
        for kind, items in large_films(folder / "films", options.films).items():
            threads = {"1 thread": 1, "2 threads": 2}
            building = {
                what: lambda items=items, count=count: build_cache(
                    items, anew(folder / "cache"), workers=count, progress=False
                )
                for what, count in threads.items()
            }
            add(f"cache {kind}", options.films, in_turns(building, options.repeats, warm_up=0), *threads, ">= 1.8")
        processes = {"1 process": 1, "2 processes": 2}
        drawing = {
            what: lambda count=count: make_phantom_dataset(
                anew(folder / f"phantom{count}"), options.patients, size=160, progress=False, workers=count
            )
            for what, count in processes.items()
        }
        seconds = in_turns(drawing, options.repeats, warm_up=0)
        if digest(folder / "phantom1") != digest(folder / "phantom2"):
            raise SystemExit("The two phantoms differ.")
        add("phantom", options.patients, seconds, *processes, ">= 1.8")
    where = machine(("numpy", "opencv-python-headless", "pydicom"))
    print(", ".join(f"{key} {value}" for key, value in where.items()) + "\n")
    print(table(rows, ("what", "per second", "seconds")))
    print_targets(targets)
    settings = {key: value for key, value in vars(options).items() if key != "output"}
    write_json({"machine": where, "settings": settings, "rows": rows, "targets": targets}, options.output)


if __name__ == "__main__":
    main()
