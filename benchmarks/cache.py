# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading an image from the cache against decoding it, against other ways to store it, and the cost of building.

    python benchmarks/cache.py [--images 2000] [--side 256] [--films 12] [--film_side 2000] [--folder DIR] [--out J]

Makes synthetic images as 2000 x 2000 PNGs and DICOM files, builds caches of them, and fills a larger cache with copies
of a few small images, so that random access has something to choose from. Each way of reading visits the images in the
same random order, sums up what it read (a view that nobody looks at costs nothing), and takes turns with the others;
printed are medians over ``--repeats`` turns. "cold" drops the files from the page cache first where the system allows
it; a virtual machine's host may still hold them. LMDB is measured where the package ``lmdb`` is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from reading import make_files, processor, synthetic_film

from monai_cxrssl.data import CachedImages, build_cache
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.data.stores.decoded import shrink

__all__ = ["main"]

Read = Callable[[int], np.ndarray]


def drop_from_page_cache(folder: Path) -> None:
    """Ask the system to forget the content of the files in a folder."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(folder: Path, images: int, side: int) -> tuple[list[dict[str, str]], tuple[int, int]]:
    """Write ``images`` small PNGs with hard links to few, and a cache of them; returns items and their shape."""
    films = folder / "small"
    films.mkdir()
    pixels = (synthetic_film(side * 5 // 4)[:, :side] >> 4).astype(np.uint8)
    items = []
    for number in range(images):
        path = films / f"{number}.png"
        if number < 16:
            cv2.imwrite(str(path), np.roll(pixels, number * 7, axis=0))
        else:
            os.link(films / f"{number % 16}.png", path)
        items.append({"image": str(path), "patient_id": str(number)})
    build_cache(items, folder / "cache", side=side, progress=False)
    return items, pixels.shape


def stores(folder: Path, shape: tuple[int, int], images: int) -> dict[str, Callable[[], Read]]:
    """Return what opens each way of storing the same pixels."""
    rows, columns = shape
    size = rows * columns
    raw = folder / "raw"
    raw.mkdir()
    cached = CachedImages(folder / "cache")
    with (raw / "pixels.bin").open("wb") as stream:
        for index in range(images):
            stream.write(cached.image(index).tobytes())

    def open_memmap() -> Read:
        mapped = np.memmap(raw / "pixels.bin", np.uint8, "r", shape=(images, rows, columns))
        return lambda index: mapped[index]

    def open_pread() -> Read:
        handle = os.open(raw / "pixels.bin", os.O_RDONLY)
        return lambda index: np.frombuffer(os.pread(handle, size, index * size), np.uint8).reshape(rows, columns)

    found: dict[str, Callable[[], Read]] = {
        "CachedImages": lambda: CachedImages(folder / "cache").image,
        "numpy memmap": open_memmap,
        "pread": open_pread,
    }
    if find_spec("lmdb"):
        import lmdb

        with lmdb.open(str(folder / "lmdb"), map_size=4 * images * size) as base, base.begin(write=True) as writing:
            for index in range(images):
                writing.put(str(index).encode(), cached.image(index).tobytes())

        def open_lmdb() -> Read:
            reading = lmdb.open(str(folder / "lmdb"), readonly=True, lock=False, readahead=False).begin(buffers=True)
            return lambda index: np.frombuffer(reading.get(str(index).encode()), np.uint8).reshape(rows, columns)

        found["LMDB"] = open_lmdb
    return found


def read_time(read: Read, order: np.ndarray) -> float:
    """Microseconds per image, its pixels summed up in blocks of 8 bytes so that the sum itself is cheap."""
    started = time.perf_counter()
    for index in order.tolist():
        pixels = read(index).reshape(-1)
        pixels[: len(pixels) // 8 * 8].view(np.uint64).sum()
    return 1e6 * (time.perf_counter() - started) / len(order)


def random_access(folder: Path, shape: tuple[int, int], images: int, repeats: int) -> dict[str, dict[str, float]]:
    """Microseconds per image of each store, cold and warm."""
    generator = np.random.default_rng(0)
    opens = stores(folder, shape, images)
    times: dict[str, dict[str, list[float]]] = {name: {"cold": [], "warm": []} for name in opens}
    for _ in range(repeats):
        order = generator.permutation(images)
        for name, open_store in opens.items():
            # The system keeps what is mapped: open after dropping, and let go before the next.
            drop_from_page_cache(folder / {"CachedImages": "cache", "LMDB": "lmdb"}.get(name, "raw"))
            read = open_store()
            times[name]["cold"].append(read_time(read, order))
            times[name]["warm"].append(read_time(read, generator.permutation(images)))
            del read
    return {name: {state: statistics.median(t) for state, t in row.items()} for name, row in times.items()}


def decoding(folder: Path, films: int, film_side: int, side: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds per image: decoding one after the other, and building a cache with 1 and more threads."""
    source = folder / "films"
    source.mkdir()
    single, build = {}, {}
    files = make_files(source, film_side)
    for name in ("PNG 8 bit", "PNG 16 bit", "DICOM"):
        items = []
        for number in range(films):
            path = source / f"{number}_{files[name].name}"
            shutil.copyfile(files[name], path)
            items.append({"image": str(path), "patient_id": str(number)})
        times = []
        for item in items:
            started = time.perf_counter()
            shrink(read_cxr_uint(item["image"], max_side=2 * side), side)
            times.append(1e3 * (time.perf_counter() - started))
        single[name] = statistics.median(times)
        for workers in sorted({1, 2, os.cpu_count() or 1}):
            out = folder / f"build_{name}_{workers}"
            started = time.perf_counter()
            build_cache(items, out, side=side, workers=workers, progress=False)
            build[f"{name}, {workers} threads"] = 1e3 * (time.perf_counter() - started) / films
    return single, build


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="images to choose from in random access")
    parser.add_argument("--side", type=int, default=256, help="shorter side of the cached images")
    parser.add_argument("--films", type=int, default=12, help="large images to decode, per format")
    parser.add_argument("--film_side", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="disk to measure; by default that of temporary files")
    parser.add_argument("--out", "--output", dest="output", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        single, build = decoding(folder, options.films, options.film_side, options.side)
        _, shape = fill(folder, options.images, options.side)
        access = random_access(folder, shape, options.images, options.repeats)
        stored = sum(path.stat().st_size for path in (folder / "cache").iterdir())
        square = options.side**2 + (stored / options.images - shape[0] * shape[1])
    cached = access["CachedImages"]
    results = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__},
        "shape": shape,
        "random_access_us": access,
        "decode_ms": single,
        "build_ms": build,
        "times_faster_than_png": {state: 1e3 * single["PNG 8 bit"] / cached[state] for state in cached},
        "speed_of_memmap": {state: access["numpy memmap"][state] / cached[state] for state in cached},
        "bytes_per_image": stored / options.images,
        "gigabytes_400000_square": 400_000 * square / 1e9,
    }
    print(f"{processor()}; {options.images} images of {shape[1]} x {shape[0]}, medians of {options.repeats}")
    print("| random access, us per image | cold | warm |\n|---|---|---|")
    for store, row in access.items():
        print(f"| {store} | {row['cold']:.1f} | {row['warm']:.1f} |")
    print(f"\n| {options.film_side} x {options.film_side} images, ms each | |\n|---|---|")
    for what, milliseconds in single.items():
        print(f"| decode and shrink {what} | {milliseconds:.1f} |")
    for what, milliseconds in build.items():
        print(f"| build a cache: {what} | {milliseconds:.1f} |")
    for state in cached:
        faster, speed = results["times_faster_than_png"][state], results["speed_of_memmap"][state]
        print(f"\n{state}: {faster:.0f}x faster than decoding a PNG, {speed:.2f}x the speed of a plain memmap", end="")
    size = results["gigabytes_400000_square"]
    print(f"\n400,000 square images of side {options.side}: {size:.1f} GB with lists and indices")
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
