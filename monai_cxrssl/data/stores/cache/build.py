# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Building a cache folder, resumable and in shards.

Files are decoded by threads: decoders release the interpreter's lock for most of their time, and threads end with
their process however it ends. More processes are had by building shards side by side.
"""

from __future__ import annotations

import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.datalists.datalist import Datalist, load_datalist
from monai_cxrssl.data.stores.cache.blocks import (
    BlockWriter,
    Entry,
    block_path,
    map_pixels,
    pixel_type,
    read_index,
    starts_of,
)
from monai_cxrssl.data.stores.cache.check import CacheReport, Source, clear_disk_errors, publish, with_source
from monai_cxrssl.data.stores.cache.manifest import CacheOptions, CachePlan, read_plan, unpublish, write_plan
from monai_cxrssl.data.stores.small_film import read_small
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import ask_all, ordered_map

__all__ = ["build_cache"]

logger = logging.getLogger(__name__)

Images = list[tuple[str, Source]]


def build_cache(
    data: Datalist | str | os.PathLike | Sequence[Mapping[str, Any]],
    out_dir: str | os.PathLike,
    side: int = 384,
    bits: int = 8,
    window: int | str | Sequence[float] | None = "first",
    workers: int | None = None,
    shard: tuple[int, int] | None = None,
    progress: bool = True,
    minimum_side: int = 32,
    block_images: int = 2048,
) -> CacheReport:
    """Build a cache, or go on with one that was stopped, or bring one up to date.

    Images whose file has the size and modification time that the cache knows are not read again. A file that cannot be
    read is recorded with its cause, and tried again by each later call. The bytes of the folder depend on the sources,
    the options and the order of the items alone: not on shards, workers or interruptions.

    Args:
        data: the datalist or its file (all splits are cached), or items with absolute ``image`` paths.
        out_dir: folder of the cache; it is made when missing.
        side, bits: shorter side kept, in pixels (smaller images are not enlarged); 8 for uint8, 16 for uint16.
        window: which DICOM window maps to the full range, as for :func:`monai_cxrssl.data.reading.read.read_cxr`.
        workers: threads that decode; by default one per usable CPU core.
        shard: ``(k, n)``, k from 1: build only every n-th block from the k-th on; :func:`join_cache` ends the work.
        progress: show the progress bar.
        minimum_side: files whose shorter side is below count as unreadable.
        block_images: images per file of the cache.

    Raises:
        ConfigurationError: an argument out of range, a folder that holds a cache of other options or images, another
            process at work on the same shard, or a full disk.
        DatalistError: no items, none of them readable, or sources of cached images that have vanished.
    """
    started = time.monotonic()
    part, parts = (1, 1) if shard is None else shard
    for name, value in (("side", side), ("block_images", block_images), ("workers", 1 if workers is None else workers)):
        if value < 1:
            raise ConfigurationError(f"{name} is {value!r}; expected a number from 1.")
    if bits not in (8, 16) or not 1 <= part <= parts:
        raise ConfigurationError(f"bits is {bits!r} and shard {part}/{parts}; expected 8 or 16, and 1/n to n/n.")
    items = _items_of(data)
    folder = Path(out_dir).expanduser()
    shown = list(window) if isinstance(window, Sequence) and not isinstance(window, str) else window
    options = CacheOptions(int(side), int(bits), shown, int(minimum_side), int(block_images))
    plan = CachePlan(options, items)
    # Decoding is parallel already, and a process forked while OpenCV's threads are at work may hang.
    cv2.setNumThreads(1)
    report = CacheReport(str(folder))
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        earlier = read_plan(folder)
        if earlier is not None:
            plan.check_follows(earlier, folder)
        blocks = plan.block_images()
        mine = range(part - 1, len(blocks), parts)
        threads = workers or usable_cores()
        sources = {number: ask_all(with_source, blocks[number], name="sources") for number in mine}
        _check_not_vanished(folder, sources, options)
        if earlier is not None and earlier.images != plan.images:
            unpublish(folder)
        write_plan(folder, plan)
        total = sum(len(blocks[number]) for number in mine)
        bar = tqdm(total=total, desc="caching", unit="image", disable=not progress)
        builder = _Builder(folder, options, threads, bar)
        for number, images in sources.items():
            report.take(builder.build(number, images), pixel_type(bits).itemsize)
        bar.close()
        report.decoded = builder.decoded
        if report.images and len(report.unreadable) == report.images:
            causes = "; ".join(f"{bad['image']}: {bad['cause']}" for bad in report.unreadable[:3])
            raise DatalistError(f"None of the {report.images} images could be read; the first: {causes}.")
        if parts == 1:
            publish(folder, plan)
            report.complete = True
    report.seconds = time.monotonic() - started
    return report


class _Builder:
    """Builds blocks one after the other, the images of each in parallel."""

    def __init__(self, folder: Path, options: CacheOptions, threads: int, bar: tqdm) -> None:
        self.decoded = 0
        self._folder, self._options, self._threads, self._bar = folder, options, threads, bar
        self._itemsize = pixel_type(options.bits).itemsize
        self._decode = partial(_decode, options=options)

    def build(self, number: int, images: Images) -> list[Entry]:
        """Bring block ``number`` up to date and return its entries."""
        path = block_path(self._folder, number)
        old = self._old_entries(path)
        if self._still_true(old, images):
            for suffix in (".part", ".journal"):  # left by a kill just before or after the rename
                path.with_suffix(suffix).unlink(missing_ok=True)
            self._bar.update(len(images))
            return old
        pixels = map_pixels(path) if old else np.zeros(0, np.uint8)
        starts = starts_of(old, self._itemsize)
        known = {e.image: (e, starts[i], starts[i + 1]) for i, e in enumerate(old) if not e.cause}
        with BlockWriter(path, self._itemsize, images) as writer:
            self._bar.update(len(writer.entries))
            rest = images[len(writer.entries) :]
            for entry, decoded in self._in_order(rest, partial(self._load, known=known, pixels=pixels)):
                writer.add(entry, decoded)
                self._bar.update()
            unpublish(self._folder)
            writer.finish()
        return writer.entries

    def _load(
        self, image: tuple[str, Source], known: dict[str, tuple[Entry, int, int]], pixels: np.ndarray
    ) -> tuple[Entry, np.ndarray | None, bool]:
        """Entry, pixels and whether they were decoded: an old entry's pixels when its source is the same."""
        name, source = image
        if name in known:
            entry, start, stop = known[name]
            stored = pixels[start:stop]
            if entry.source == source and zlib.crc32(stored.data) == entry.crc32:
                return entry, stored.view(pixel_type(self._options.bits)).reshape(entry.rows, entry.columns), False
        return *self._decode(image), True

    def _in_order(
        self, images: Images, load: Callable[[tuple[str, Source]], tuple[Entry, np.ndarray | None, bool]]
    ) -> Iterator[tuple[Entry, np.ndarray | None]]:
        """Load in parallel, yield in order, count what was decoded."""
        for entry, pixels, decoded in ordered_map(load, images, self._threads, name="cache"):
            self.decoded += decoded
            if entry.cause and decoded:
                logger.warning("unreadable: %s: %s", entry.image, entry.cause)
            yield entry, pixels

    def _old_entries(self, path: Path) -> list[Entry]:
        try:
            return read_index(path, self._itemsize)[0]
        except FileNotFoundError:
            return []
        except ConfigurationError as error:
            logger.warning("%s This block is built anew.", error)
            return []

    def _still_true(self, old: list[Entry], images: Images) -> bool:
        """Whether a block holds these images with these sources, and what was unreadable still is."""
        if [(entry.image, entry.source) for entry in old] != images:
            return False
        # The cause may have gone without a change of the file: a permission, a missing decoder.
        bad = [entry for entry in old if entry.cause]
        again = self._in_order([entry[:2] for entry in bad], self._retry)
        return all(entry == new for entry, (new, _) in zip(bad, again, strict=True))

    def _retry(self, image: tuple[str, Source]) -> tuple[Entry, np.ndarray | None, bool]:
        entry, pixels = self._decode(image)
        return (entry._replace(rows=1), None, True) if pixels is not None else (entry, None, True)


def _decode(image: tuple[str, Source], options: CacheOptions) -> tuple[Entry, np.ndarray | None]:
    """Read a file and make it small, as :class:`monai_cxrssl.data.DecodedImages` does."""
    from monai_cxrssl.data.reading.read import read_cxr_uint

    path, source = image
    reader = partial(read_cxr_uint, bits=options.bits, window=options.window, side=options.side, with_metadata=True)
    try:
        native = pixel_type(options.bits).newbyteorder("=")
        pixels, warnings = read_small(path, reader, options.side, native, options.minimum_side)
    except CXRReadError as error:
        # An address in the words of a library would differ from run to run.
        cause = re.sub(r"0x[0-9a-fA-F]{6,}", "0x", error.cause or str(error))
        return Entry(path, source, cause=cause), None
    notes = tuple((getattr(words, "kind", "other"), str(words)) for words in warnings)
    return Entry(path, source, warnings=notes), pixels.astype(pixel_type(options.bits), copy=False)


def _check_not_vanished(folder: Path, sources: dict[int, Images], options: CacheOptions) -> None:
    """Refuse to throw cached pixels away because a disk is not mounted."""
    itemsize = pixel_type(options.bits).itemsize
    vanished = []
    for number, images in sources.items():
        gone = {image for image, source in images if source is None}
        if gone and block_path(folder, number).exists():
            try:
                entries, _ = read_index(block_path(folder, number), itemsize)
            except ConfigurationError:  # nothing to lose there
                continue
            vanished += [entry.image for entry in entries if entry.image in gone and not entry.cause]
    if vanished:
        raise DatalistError(
            f"The files of {len(vanished)} images that the cache in {folder} holds have vanished, the first "
            f"{vanished[0]}. Put them back (is a disk not mounted?), or cache a datalist without them in another "
            "folder. The cache was left as it is."
        )


def _items_of(data: Datalist | str | os.PathLike | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(data, (str, os.PathLike)):
        data = load_datalist(data)
    items = data.all_items() if isinstance(data, Datalist) else [dict(item) for item in data]
    if not items:
        raise DatalistError("There are no images to cache; expected items in the datalist.")
    relative = next((item["image"] for item in items if not Path(item["image"]).is_absolute()), None)
    if relative is not None:
        raise DatalistError(f"Image path {relative} is relative; a cache needs absolute paths.")
    return items
