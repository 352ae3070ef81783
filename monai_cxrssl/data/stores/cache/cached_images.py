# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Image store on a memory-mapped cache folder.

Pixels are memory-mapped: the processes of a machine share one copy in the page cache, and reading an image makes no
copy at all.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.film import Note
from monai_cxrssl.data.stores.cache.blocks import block_path, is_cut, map_pixels, pixel_type, read_index, starts_of
from monai_cxrssl.data.stores.cache.manifest import read_manifest, read_plan
from monai_cxrssl.data.stores.small_film import refuse_unreadable
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

__all__ = ["CachedImages"]


class CachedImages:
    """The images of a cache made by :func:`monai_cxrssl.data.build_cache`; the sources are not needed.

    Block files are opened when their first image is asked for, in each process by itself: an object may be pickled
    (without its maps) and used after a fork. A build that adds images to the cache meanwhile is followed; one that
    changed the pixels of an image in use is an error.

    Opening checks the sizes and indices of the block files. The pixels of an image are compared with their checksum
    when a process reads it for the first time; :func:`monai_cxrssl.data.verify_cache` compares them all at once. An
    image that is cut off from a mapped file is noticed whenever it is read.

    Args:
        cache_dir: folder of the cache.
        items: datalist items with absolute ``image`` paths, as they were cached, for instance those of one split; by
            default all that the cache was made of.
        side, bits, window: what the cache must have been made with, if given.
        max_unreadable: largest fraction of unreadable items to live with; up to three always, unless it is 0.

    Attributes:
        items, kept, unreadable, warnings: see :class:`~monai_cxrssl.data.stores.image_store.ImageStore`.
        side, dtype: shorter side of the images, in pixels (smaller ones were not enlarged), and the type of the pixels.

    Raises:
        ConfigurationError: no cache, one that is not complete, damaged, or made with other options.
        DatalistError: no items, items that are not in the cache, or too many unreadable ones.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike,
        items: Sequence[Mapping[str, Any]] | None = None,
        side: int | None = None,
        bits: int | None = None,
        window: int | str | Sequence[float] | None = None,
        max_unreadable: float = 0.05,
    ) -> None:
        self.folder = Path(cache_dir).expanduser().absolute()
        manifest = read_manifest(self.folder)
        plan = read_plan(self.folder)
        if plan is None:
            raise ConfigurationError(f"The cache in {self.folder} has lost its items.json; build it again.")
        wanted_window = list(window) if isinstance(window, Sequence) and not isinstance(window, str) else window
        for name, wanted in (("side", side), ("bits", bits), ("window", wanted_window)):
            made = getattr(plan.options, name)
            if wanted is not None and wanted != made:
                raise ConfigurationError(
                    f"The cache in {self.folder} was made with {name} {made!r}, not {wanted!r}; make another cache "
                    "with this option in a folder of its own."
                )
        self.side = plan.options.side
        self.dtype = pixel_type(plan.options.bits)
        given = [dict(item) for item in (plan.items if items is None else items)]
        if not given:
            raise DatalistError("There are no images to read from the cache; expected items in the chosen splits.")
        self._sizes = [block["bytes"] for block in manifest["blocks"]]
        self._digests = [block["index"] for block in manifest["blocks"]]
        self._maps: dict[int, np.ndarray] = {}
        self.items: list[dict[str, Any]] = []
        self.kept: list[int] = []
        self.unreadable: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []
        # Block, first byte in it, rows and columns of each kept item.
        self._places, self._checksums = self._locate(given)
        # Which of them this process has compared with their checksum.
        self._compared = np.zeros(len(self.items), dtype=bool)
        refuse_unreadable(self.unreadable, len(given), max_unreadable)

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}, "_compared": np.zeros(len(self.items), dtype=bool)}

    @property
    def in_memory(self) -> bool:
        """Whether an image is read without decoding: always."""
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of pixels of the kept items."""
        return int((self._places[:, 2] * self._places[:, 3]).sum()) * self.dtype.itemsize

    def image(self, index: int) -> np.ndarray:
        """Pixels of item ``index``: ``(h, w)`` uint8 or uint16, read-only, bright = dense.

        Raises:
            IndexError: there is no such item.
            CXRReadError: the pixels of this image are not those that were cached, or were cut off.
            ConfigurationError: the block file is gone, or another one than when the cache was opened.
        """
        if not 0 <= index < len(self.items):
            raise IndexError(f"There is no image {index}; there are {len(self.items)}.")
        block, start, rows, columns = self._places[index].tolist()
        pixels = self._maps.get(block)
        if pixels is None:
            try:
                pixels = self._open(block)
            except ConfigurationError as error:
                self._follow(error)
                block, start, rows, columns = self._places[index].tolist()
                pixels = self._open(block)
        stop = start + rows * columns * self.dtype.itemsize
        if is_cut(pixels, stop):
            raise self._damaged(index, "was cut off")
        stored = pixels[start:stop]
        if not self._compared[index]:
            if zlib.crc32(stored.data) != self._checksums[index]:
                raise self._damaged(index, "has changed, its checksum does not match")
            self._compared[index] = True
        return stored.view(self.dtype).reshape(rows, columns)

    def _damaged(self, index: int, what: str) -> CXRReadError:
        path = block_path(self.folder, int(self._places[index, 0]))
        return CXRReadError(
            self.items[index]["image"],
            f"its copy in the cache file {path} {what}",
            "Delete that file and run the same cache command again: it builds this block anew.",
        )

    def _open(self, block: int) -> np.ndarray:
        path = block_path(self.folder, block)
        self._index(block)  # a build may have exchanged the file since
        try:
            pixels = map_pixels(path)
        except (OSError, ValueError) as error:  # ValueError: it is empty by now
            words = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"Cache file {path} cannot be opened: {words}.") from error
        self._check_size(path, block, pixels.size)
        self._maps[block] = pixels
        return pixels

    def _check_size(self, path: Path, block: int, size: int) -> None:
        if size != self._sizes[block]:
            raise ConfigurationError(
                f"Cache file {path} has {size} bytes, not the {self._sizes[block]} that were published: it is cut, or "
                "a build has changed it. Run the cache command again, then start this run anew."
            )

    def _follow(self, error: ConfigurationError) -> None:
        """Take over what a build has published since, if it only added images: places change then, pixels do not."""
        try:
            fresh = CachedImages(self.folder, self.items)
        except (ConfigurationError, DatalistError):
            raise error from None
        if len(fresh) != len(self) or not np.array_equal(fresh._places[:, 2:], self._places[:, 2:]):
            raise error
        if not np.array_equal(fresh._checksums, self._checksums):
            raise error
        self._places, self._sizes, self._digests, self._maps = fresh._places, fresh._sizes, fresh._digests, {}
        self._compared[:] = False

    def _index(self, block: int) -> list:
        """Entries of a block, which must be the one that was published."""
        path = block_path(self.folder, block)
        try:
            self._check_size(path, block, path.stat().st_size)
            entries, digest = read_index(path, self.dtype.itemsize)
        except OSError as error:
            raise ConfigurationError(
                f"Cache file {path} cannot be opened: {error.strerror or error}. Run the cache command again: it "
                "builds what is missing."
            ) from error
        if digest != self._digests[block]:
            raise ConfigurationError(
                f"Cache file {path} is not the one that was published: a build has changed it. Start this run anew."
            )
        return entries

    def _locate(self, given: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Fill the lists of items; returns block, first byte, rows, columns, ``(kept, 4)`` int64, and checksums."""
        wanted: dict[str, list[int]] = {}
        for position, item in enumerate(given):
            wanted.setdefault(item["image"], []).append(position)
        found: list[tuple[int, int, int, int, int] | str | None] = [None] * len(given)
        for block in range(len(self._sizes)):
            entries = self._index(block)
            starts = starts_of(entries, self.dtype.itemsize)
            for entry, start in zip(entries, starts, strict=False):
                for position in wanted.get(entry.image, ()):
                    found[position] = entry.cause or (block, start, entry.rows, entry.columns, entry.crc32)
                if entry.image in wanted:
                    self.warnings.extend({"image": entry.image, "warning": Note(*note)} for note in entry.warnings)
        absent = [item["image"] for item, place in zip(given, found, strict=True) if place is None]
        if absent:
            raise DatalistError(
                f"{len(absent)} of {len(given)} images are not in the cache in {self.folder}, the first {absent[0]}. "
                "Paths are compared as they are written; run the cache command with this datalist."
            )
        places = []
        for position, place in enumerate(found):
            if isinstance(place, tuple):
                self.items.append(given[position])
                self.kept.append(position)
                places.append(place)
            else:
                self.unreadable.append({"image": given[position]["image"], "cause": str(place)})
        table = np.array(places, dtype=np.int64).reshape(len(places), 5)
        return table[:, :4], table[:, 4]
