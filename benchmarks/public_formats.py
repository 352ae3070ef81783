# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Processor time to bring one image of a public data set to a cache's size, against the bare decoder and MONAI.

    python benchmarks/public_formats.py [--side 384] [--turns 9] [--films 200] [--out public_formats.json]

Images are synthesised at the sizes, depths and codings that the data sets publish (shapes and detector noise, so that
the files are as large as theirs), read once to warm the file cache, then read in turns, in processor time, with one
thread. "Bare" is the decoder that this package takes and one area average, without any look at the file; a JPEG is
decoded as small as the wanted side allows. MONAI's ``LoadImage`` does not even reduce. Then caches of ``--films`` such
JPEG images are built with one and two workers, and the cost of a cache of each data set is its images times these
milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from measure import judged, machine, order_of, print_targets, ratio
from reading import synthetic_film, write_dicom

from monai_cxrssl.data.reading.film import shrink_to, small_size

__all__ = ["main"]


@dataclass(frozen=True)
class Kind:
    """Images of one kind.

    Attributes:
        name: as the table shows it.
        file: name of the file.
        rows, columns: published size, in pixels.
        noise: deviation of the detector's noise in 4095ths, which decides on the size of the file.
        films: how many the data set has.
        limits: most times the bare decoder, least times faster than MONAI; 0 for no target.
    """

    name: str
    file: str
    rows: int
    columns: int
    noise: float
    films: int
    limits: tuple[float, float] = (0.0, 0.0)


KINDS = (
    Kind("MIMIC-CXR-JPG: JPEG 3056 x 2544", "mimic.jpg", 3056, 2544, 30, 377_110, (1.25, 1.7)),
    Kind("CheXpert small: JPEG 390 x 320", "chexpert.jpg", 390, 320, 8, 224_316, (0.0, 1.3)),
    Kind("ChestX-ray14: PNG 1024 x 1024, 8 bit", "chestxray14.png", 1024, 1024, 8, 112_120, (1.15, 1.15)),
    Kind("PadChest: PNG 3056 x 2544, 16 bit", "padchest.png", 3056, 2544, 8, 160_868, (1.2, 1.45)),
    Kind("VinDr-CXR: DICOM JPEG 2000, 3072 x 2540", "vindr.dcm", 3072, 2540, 8, 18_000),
)


_CACHE_TURNS = 3


def write(kind: Kind, folder: Path, scale: float) -> Path:
    """Write an image of this kind at ``scale`` times its size."""
    import imagecodecs
    from PIL import Image

    rows, columns = (max(96, round(side * scale)) for side in (kind.rows, kind.columns))
    square = synthetic_film(max(rows, columns))
    noise = np.random.default_rng(1).normal(0, kind.noise, (rows, columns))
    film = np.clip(square[:rows, :columns] + noise, 0, 4095).astype(np.uint16)
    path = folder / kind.file
    if path.suffix == ".jpg":
        Image.fromarray((film >> 4).astype(np.uint8)).save(path, quality=97 if kind.rows > 1000 else 90)
    elif path.suffix == ".png":
        Image.fromarray(film * 16 if "16 bit" in kind.name else (film >> 4).astype(np.uint8)).save(path)
    else:
        stream = imagecodecs.jpeg2k_encode(film, level=0, codecformat="j2k", reversible=True, bitspersample=12)
        write_dicom(path, film, "1.2.840.10008.1.2.4.90", stream)
    return path


def bare(path: Path, side: int) -> np.ndarray:
    """Decode as the package does, and average; nothing is checked."""
    data = path.read_bytes()
    if path.suffix == ".jpg":
        rows, columns, _, _ = simplejpeg.decode_jpeg_header(data)
        wanted = small_size(rows, columns, side)
        small = 2 * wanted[0] <= rows and 2 * wanted[1] <= columns
        least: dict[str, Any] = {"min_height": wanted[0], "min_width": wanted[1], "min_factor": 2.0} if small else {}
        pixels = simplejpeg.decode_jpeg(data, "GRAY", **least)[..., 0]
    elif path.suffix == ".png":
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    else:
        import imagecodecs
        import pydicom
        from pydicom.encaps import generate_frames

        frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
        pixels = imagecodecs.jpeg2k_decode(frame, numthreads=1)
    return shrink_to(pixels, small_size(*pixels.shape[:2], side))


def in_processor_turns(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Return the median milliseconds of processor time of each call, one after another in each turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def build(films: list[Path], folder: Path, side: int, workers: int) -> None:
    """Build a cache of these images in a folder that goes afterwards."""
    from monai_cxrssl.data import build_cache

    items = [{"image": str(path), "patient_id": str(number)} for number, path in enumerate(films)]
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        build_cache(items, cache, side=side, workers=workers, progress=False)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=384, help="shorter side that a cache keeps")
    parser.add_argument("--turns", type=int, default=9, help="timed reads of each image in each way")
    parser.add_argument("--films", type=int, default=200, help="images of the caches")
    parser.add_argument("--scale", type=float, default=1.0, help="of the published sizes, for a quick try")
    parser.add_argument("--out", "--output", dest="output", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    from monai.transforms import LoadImage

    from monai_cxrssl.data import read_cxr_uint

    load = LoadImage(image_only=True, ensure_channel_first=True)
    here = machine()
    print(f"to {options.side} px, medians of {options.turns}, processor time, one thread; torch {here['torch']}")
    rows, targets = [], []
    print("| image | MB | ours, ms | bare, ms | MONAI, ms | ours / bare | MONAI / ours | cache, core-hours |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = write(kind, Path(folder), options.scale)
            calls: dict[str, Callable[[], Any]] = {
                "ours": lambda path=path: read_cxr_uint(path, side=options.side),
                "bare": lambda path=path: bare(path, options.side),
                "MONAI": lambda path=path: load(path),
            }
            took = in_processor_turns(calls, options.turns)
            over, faster = took["ours"] / took["bare"], took["MONAI"] / took["ours"]
            hours = took["ours"] * kind.films / 3.6e6
            size = path.stat().st_size / 1e6
            print(
                f"| {kind.name} | {size:.2f} | {took['ours']:.2f} | {took['bare']:.2f} | {took['MONAI']:.2f} "
                f"| {over:.2f} | {faster:.2f} | {hours:.1f} |"
            )
            rows.append({"film": kind.name, "megabytes": size, "milliseconds": took, "core_hours": hours})
            if kind.limits[0]:
                targets.append(judged(f"{kind.name}: times the bare decoder", over, f"<= {kind.limits[0]}"))
            if kind.limits[1]:
                targets.append(judged(f"{kind.name}: times faster than MONAI", faster, f">= {kind.limits[1]}"))
        rates = _cache_rates(Path(folder), options)
    print(
        f"\nCaches of {options.films} JPEG images: bare decoder {rates['bare']:.1f}, one worker {rates['one']:.1f}, "
        f"two {rates['two']:.1f} images/s ({os.cpu_count()} cores); of the bare decoder's images per second of "
        f"processor time, one worker gives {100 * rates['one of bare']:.0f} %."
    )
    targets.append(judged("cache: films/s over the bare decoder, one worker", rates["one of bare"], ">= 0.85"))
    targets.append(judged("cache: films/s, two workers over one", rates["two of one"], ">= 1.8"))
    print_targets(targets)
    if options.output:
        content = {"side": options.side, "turns": options.turns, "machine": here, "films": rows, "cache": rates}
        options.output.write_text(json.dumps({**content, "targets": targets}, indent=1) + "\n")


def _cache_rates(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Images per second of the bare decoder and of caches by one and two workers, in turns, and ratios of a turn: of
    one worker to the bare decoder by processor time, which others on the machine disturb less, of two by the clock."""
    first = (folder / KINDS[0].file).read_bytes()
    films = [folder / f"{number:04}.jpg" for number in range(options.films)]
    for path in films:
        path.write_bytes(first)
    calls: dict[str, Callable[[], Any]] = {
        "bare": lambda: [bare(path, options.side) for path in films],
        "one": lambda: build(films, folder, options.side, 1),
        "two": lambda: build(films, folder, options.side, 2),
    }
    clock, processor = ({name: [] for name in calls} for _ in range(2))
    for turn in range(min(_CACHE_TURNS, options.turns)):
        for name in order_of(list(calls), turn):
            started = time.perf_counter(), time.process_time()
            calls[name]()
            clock[name].append(time.perf_counter() - started[0])
            processor[name].append(time.process_time() - started[1])
    rates = {name: options.films / statistics.median(seconds) for name, seconds in clock.items()}
    return {**rates, "one of bare": ratio(processor, "bare", "one"), "two of one": ratio(clock, "one", "two")}


if __name__ == "__main__":
    main()
