# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Image store in shared memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from monai_cxrssl.cores import usable_cores
from monai_cxrssl.data.stores.memory import available_memory
from monai_cxrssl.data.stores.small_film import Reader, read_small, refuse_unreadable, shrink
from monai_cxrssl.data.stores.timed_read import read_in_time
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.files import ordered_map

__all__ = ["DecodedImages", "shrink"]

logger = logging.getLogger(__name__)

Window = int | str | Sequence[float] | None

# Mean number of pixels in squares of the shorter side, for the estimate before anything is decoded.
USUAL_ASPECT = 1.3
# Taken where the system does not tell how much memory is left.
UNKNOWN_MEMORY = 4 * 2**30


class DecodedImages:
    """The images of a datalist as small grey arrays.

    Each file is read once, by a pool of threads, and reduced (:func:`shrink`) so that its shorter side is ``side``. All
    pixels lie in one contiguous tensor: forked workers read the parent's copy, and for spawned ones torch moves it to
    shared memory once. When the estimate of ``images x side x side x 1.3`` pixels exceeds the limit, nothing is kept:
    images are then decoded at each access, which the log says in one line.

    Files that cannot be read, whose shorter side is below ``minimum_side``, or whose pixels all have one value are
    dropped, each with a line in the log, and listed in :attr:`unreadable`.

    From here on OpenCV works with one thread in this process (``cv2.setNumThreads(1)``): workers forked later could
    otherwise hang.

    Args:
        items: datalist items with absolute ``image`` paths.
        side, bits: shorter side kept, in pixels (smaller images are not enlarged); 8 for uint8, 16 for uint16.
        window: which DICOM window maps to the full range; passed to the reader of this package.
        reader: gives the ``(H, W)`` uint8 or uint16 pixels of a path as ``bits`` says, alone or with a dictionary that
            may hold ``warnings``, or raises; by default :func:`monai_cxrssl.data.reading.read.read_cxr_uint`. Under
            spawn it must pickle.
        minimum_side: shortest side, in pixels as read, that can be trained on.
        memory_limit_gb: most memory for the pixels, in GiB; by default half of what is available.
        check: when nothing is kept, read every file once all the same, to find the unreadable ones before training.
        max_unreadable: largest fraction of unreadable files to live with; up to three always, unless it is 0.
        read_seconds: a file that is not read after so long counts as unreadable.
        num_threads: threads that decode; by default one per usable CPU core.
        progress: show the progress bar.

    Attributes:
        items, kept, unreadable, warnings: see :class:`~monai_cxrssl.data.stores.image_store.ImageStore`.

    Raises:
        DatalistError: no items, all unreadable, or more than ``max_unreadable``.
        ConfigurationError: an argument out of range.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        side: int = 384,
        bits: int = 8,
        window: Window = "first",
        reader: Reader | None = None,
        minimum_side: int = 32,
        memory_limit_gb: float | None = None,
        check: bool = True,
        max_unreadable: float = 0.05,
        read_seconds: float = 120.0,
        num_threads: int | None = None,
        progress: bool = True,
    ) -> None:
        if bits not in (8, 16):
            raise ConfigurationError(f"Images are kept with 8 or 16 bits per pixel, not {bits!r}.")
        if side < 1 or not 0 <= max_unreadable <= 1:
            raise ConfigurationError(f"side is {side} and max_unreadable {max_unreadable}; expected > 0 and 0 to 1.")
        if not items:
            raise DatalistError("There are no images to decode; expected items in the chosen splits of the datalist.")
        self.side = int(side)
        self.dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
        self.minimum_side = minimum_side
        self.items = [dict(item) for item in items]
        self.kept = list(range(len(items)))
        self.unreadable: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []
        self._reader = reader or _default_reader(bits, window, self.side)
        self._read_seconds = read_seconds
        self._threads = num_threads or usable_cores()
        self._progress = progress
        self._store: torch.Tensor | None = None
        self._starts = self._shapes = np.zeros(0, dtype=np.int64)
        # Files are decoded side by side already. Above all, a loader's worker that is forked while a thread of OpenCV
        # holds the lock of its pool waits for that lock for ever; with one thread there is no pool.
        cv2.setNumThreads(1)
        estimate = int(len(items) * side * side * USUAL_ASPECT * self.dtype.itemsize)
        limit = _memory_limit(memory_limit_gb)
        if estimate <= limit:
            self._decode_all(estimate, max_unreadable)
            return
        logger.warning(
            "%d images of side %d take about %.1f GB, more than the limit of %.1f GB: they are not kept in memory but "
            "decoded at each access",
            *(len(items), side, estimate / 2**30, limit / 2**30),
        )
        if check:
            self._keep([index for index, pixels in self._results("checking") if pixels is not None], max_unreadable)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are kept; otherwise each access decodes the file."""
        return self._store is not None

    @property
    def nbytes(self) -> int:
        """Bytes of pixels kept."""
        return 0 if self._store is None else self._store.numel()

    def image(self, index: int) -> np.ndarray:
        """Pixels of item ``index``: ``(h, w)`` uint8 or uint16, read-only, bright = dense.

        Raises:
            IndexError: there is no such item.
            CXRReadError: the file could not be decoded now (only without the store).
        """
        if not 0 <= index < len(self.items):
            raise IndexError(f"There is no image {index}; there are {len(self.items)}.")
        if self._store is None:
            pixels, _ = self._load(self.items[index]["image"])
        else:
            start, (rows, columns) = self._starts[index], self._shapes[index]
            stop = start + rows * columns * self.dtype.itemsize
            pixels = self._store.numpy()[start:stop].view(self.dtype).reshape(rows, columns)
        pixels.flags.writeable = False
        return pixels

    def _load(self, path: str) -> tuple[np.ndarray, list[str]]:
        """Pixels of a file as they are kept, and the reader's warnings."""
        return read_in_time(self._read, path, self._read_seconds)

    def _load_or_error(self, path: str) -> tuple[np.ndarray, list[str]] | CXRReadError:
        try:
            return self._load(path)
        except CXRReadError as error:
            return error

    def _read(self, path: str) -> tuple[np.ndarray, list[str]]:
        return read_small(path, self._reader, self.side, self.dtype, self.minimum_side)

    def _decode_all(self, estimate: int, max_unreadable: float) -> None:
        started = time.monotonic()
        # Untouched pages cost nothing, and realloc moves a large block by remapping it, so growing is cheap.
        store = np.empty(estimate, dtype=np.uint8)
        kept, starts, shapes, used = [], [], [], 0
        for index, pixels in self._results("decoding"):
            if pixels is None:
                continue
            if used + pixels.nbytes > store.size:
                store.resize(max(int(store.size * 1.25), used + pixels.nbytes), refcheck=False)
            store[used : used + pixels.nbytes] = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
            kept.append(index)
            starts.append(used)
            shapes.append(pixels.shape)
            used += pixels.nbytes
        self._keep(kept, max_unreadable)
        store.resize(used, refcheck=False)
        self._store = torch.from_numpy(store)
        self._starts = np.array(starts, dtype=np.int64)
        self._shapes = np.array(shapes, dtype=np.int64)
        seconds = time.monotonic() - started
        logger.info("decoded %d images in %.1f s: %.1f MB in memory", len(kept), seconds, used / 1e6)

    def _results(self, what: str) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yield (index, pixels) of all items in order, ``None`` for an unreadable one, which is noted and logged."""
        paths = [item["image"] for item in self.items]
        results = ordered_map(self._load_or_error, paths, self._threads, name=what)
        bar = tqdm(results, total=len(paths), desc=what, unit="image", disable=not self._progress)
        for index, (path, result) in enumerate(zip(paths, bar, strict=True)):
            if isinstance(result, CXRReadError):
                logger.warning("unreadable: %s", result)
                self.unreadable.append({"image": path, "cause": result.cause or str(result)})
                yield index, None
            else:
                pixels, warnings = result
                self.warnings.extend({"image": path, "warning": warning} for warning in warnings)
                yield index, pixels

    def _keep(self, kept: list[int], max_unreadable: float) -> None:
        refuse_unreadable(self.unreadable, len(self.items), max_unreadable)
        self.kept = kept
        self.items = [self.items[index] for index in kept]


def _default_reader(bits: int, window: Window, side: int) -> Reader:
    from monai_cxrssl.data.reading.read import read_cxr_uint

    # Some formats decode faster at a lower resolution.
    return partial(read_cxr_uint, bits=bits, window=window, side=side, with_metadata=True)


def _memory_limit(limit_gb: float | None) -> int:
    if limit_gb is not None:
        return int(limit_gb * 2**30)
    available = available_memory()
    return (UNKNOWN_MEMORY if available is None else available) // 2
