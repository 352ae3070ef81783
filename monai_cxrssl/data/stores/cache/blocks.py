# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Block files of a cache: pixels, index, checksums.

A block file is the pixels of its images one after the other (little-endian, rows first), then its index (a JSON list
of entries, see :class:`Entry`), then a footer of 32 bytes: the length of the index (uint64), its BLAKE2b digest (16
bytes) and a mark (8 bytes). The index holds a CRC-32 of each image, so that the digest stands for the whole block.

A block is written to ``NAME.part`` while ``NAME.journal`` gets one line per image; after a kill the images in the
journal are taken over and the rest is appended. One rename then turns the part into the block.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import lock, replace

__all__ = ["BlockWriter", "Entry", "block_path", "is_cut", "map_pixels", "pixel_type", "read_index", "starts_of"]

FOOTER = struct.Struct("<Q16s8s")
MARK = b"CXRBLK01"


class Entry(NamedTuple):
    """What a block knows of one image.

    Args:
        image: path of its file.
        source: size in bytes and modification time in ns of that file when it was read; None if there was none.
        rows, columns: 0 if the file could not be read; ``cause`` then says why, in words.
        crc32: of its pixels.
        warnings: what the reader found odd, each as the kind and the sentence of a note.
    """

    image: str
    source: tuple[int, int] | None
    rows: int = 0
    columns: int = 0
    crc32: int = 0
    cause: str = ""
    warnings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, values: list) -> Entry:
        """Take over a list of the fields; raises ``TypeError`` if it is none."""
        image, source, rows, columns, crc32, cause, warnings = values
        notes = tuple((kind, words) for kind, words in warnings)
        return cls(image, source and (source[0], source[1]), rows, columns, crc32, cause, notes)


def block_path(folder: Path, number: int) -> Path:
    """File of block ``number``, counted from 0."""
    return folder / f"block-{number:05d}.cxr"


def pixel_type(bits: int) -> np.dtype:
    """Type of a stored pixel: uint8 or little-endian uint16."""
    return np.dtype("u1" if bits == 8 else "<u2")


def starts_of(entries: list[Entry], itemsize: int) -> list[int]:
    """Where the pixels of each entry start in their block, and last where they all end, in bytes."""
    starts = [0]
    for entry in entries:
        starts.append(starts[-1] + entry.rows * entry.columns * itemsize)
    return starts


def read_index(path: Path, itemsize: int) -> tuple[list[Entry], str]:
    """Read and check the index of a block file, not its pixels; return the entries and the hexadecimal digest of the
    index.

    Raises:
        FileNotFoundError: there is no such block.
        ConfigurationError: the file is cut, or its index is damaged.
    """
    remedy = "Delete this file and run the same cache command again: it builds this block anew."
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - FOOTER.size))
        footer = stream.read(FOOTER.size)
        if len(footer) < FOOTER.size or not footer.endswith(MARK):
            raise ConfigurationError(f"Cache file {path} is cut or damaged: its end is missing. {remedy}")
        length, digest, _ = FOOTER.unpack(footer)
        end = size - FOOTER.size - length
        stream.seek(max(0, end))
        index = stream.read(length) if end >= 0 else b""
    if _digest(index) != digest:
        raise ConfigurationError(f"Cache file {path} is damaged: its index does not match its checksum. {remedy}")
    entries = [Entry.from_json(values) for values in json.loads(index)]
    if starts_of(entries, itemsize)[-1] != end:
        raise ConfigurationError(
            f"Cache file {path} holds {end} bytes of pixels, not the {starts_of(entries, itemsize)[-1]} that its "
            f"index tells of. {remedy}"
        )
    return entries, digest.hex()


def map_pixels(path: Path) -> np.ndarray:
    """Map a block file into memory: ``(bytes,)`` uint8, read-only; pages are read when they are touched."""
    with path.open("rb") as stream:
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)


def is_cut(pixels: np.ndarray, stop: int) -> bool:
    """Whether the file of a map ends before byte ``stop`` now; touching what is missing ends the process (SIGBUS)."""
    # NumPy has a view of the map as the base, or the map itself. It keeps its file open, so this asks for that very
    # file, also after another took its name.
    mapped = pixels.base.obj if isinstance(pixels.base, memoryview) else pixels.base
    return isinstance(mapped, mmap.mmap) and mapped.size() < stop


class BlockWriter:
    """Writes one block (``path``, ``itemsize`` bytes per pixel), going on where a killed one stopped.

    Use it as a context; :meth:`finish` makes the file, and leaving the context without it keeps the part for later.
    ``images`` are the paths of its images in their order, with their size and modification time now; :attr:`entries`
    those written so far. ConfigurationError: another process is writing this block.
    """

    def __init__(self, path: Path, itemsize: int, images: list[tuple[str, tuple[int, int] | None]]) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._part, self._journal_path = path.with_suffix(".part"), path.with_suffix(".journal")
        with ExitStack() as stack:
            # A second process must not write the same part, nor into the block that the part became meanwhile.
            busy = f"Another process is building {path}; wait for it, or give each process a shard of its own."
            self._pixels = stack.enter_context(lock(self._part, busy))
            self._journal = os.open(self._journal_path, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, self._journal)
            self._take_over(itemsize, images)
            self._opened = stack.pop_all()

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def add(self, entry: Entry, pixels: np.ndarray | None) -> None:
        """Append an image; an unreadable one has no pixels. The CRC-32 is filled in here."""
        if pixels is not None:
            data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
            rows, columns = pixels.shape
            entry = entry._replace(rows=rows, columns=columns, crc32=zlib.crc32(data.data))
            _write(self._pixels, data.data)
        # The line follows the pixels: a line in the journal means that its pixels are in the part.
        _write(self._journal, json.dumps(entry).encode() + b"\n")
        self.entries.append(entry)

    def finish(self) -> None:
        """Write the index and put the block in its place in one step."""
        index = json.dumps(self.entries, separators=(",", ":")).encode()
        _write(self._pixels, index + FOOTER.pack(len(index), _digest(index), MARK))
        os.fsync(self._pixels)
        replace(self._part, self.path, sync=True)
        os.unlink(self._journal_path)  # noqa: PTH108

    def _take_over(self, itemsize: int, images: list[tuple[str, tuple[int, int] | None]]) -> None:
        """Keep what is whole and still true of an earlier attempt, and cut the rest off."""
        lines = _read(self._journal, 0, os.fstat(self._journal).st_size).split(b"\n")
        kept, start = 0, 0
        for line, (image, source) in zip(lines[:-1], images, strict=False):
            try:
                entry = Entry.from_json(json.loads(line))
            except (ValueError, TypeError, LookupError):
                break
            size = entry.rows * entry.columns * itemsize
            if (entry.image, entry.source) != (image, source):
                break
            pixels = _read(self._pixels, start, size)
            if size and (len(pixels) != size or zlib.crc32(pixels) != entry.crc32):
                break
            self.entries.append(entry)
            kept, start = kept + len(line) + 1, start + size
        for handle, end in ((self._journal, kept), (self._pixels, start)):
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)


def _write(handle: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _read(handle: int, start: int, size: int) -> bytes:
    os.lseek(handle, start, os.SEEK_SET)
    parts = []
    while size > 0 and (part := os.read(handle, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
