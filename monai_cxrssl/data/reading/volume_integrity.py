# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Damage in NIfTI, MHA and NRRD files that readers ignore."""

from __future__ import annotations

import gzip
import io
import re
import zlib

from monai_cxrssl.errors import CXRReadError

__all__ = ["check_attached_voxels", "check_surplus", "inflate_counted"]

# What may follow the voxels of a compressed file before it is taken for a decompression bomb.
_MAX_SURPLUS = 16 * 2**20
_BLOCK = 1 << 20


def inflate_counted(data: bytes, length: int) -> tuple[bytes, int]:
    """Return the first ``length`` bytes of a file that may be gzip-compressed, and how many follow them.

    A compressed file is inflated to its end, since its checksum stands there; no more than ``length`` is kept.

    Raises:
        OSError, EOFError, zlib.error: the compressed data are damaged, cut, or go on far behind the voxels.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data[:length], max(0, len(data) - length)
    surplus = 0
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        content = file.read(length)
        while block := file.read(_BLOCK):
            surplus += len(block)
            if surplus > _MAX_SURPLUS:
                raise OSError(f"more than {_MAX_SURPLUS >> 20} MiB follow its voxels")
    return content, surplus


def check_surplus(path: str, surplus: int, line: int) -> None:
    """Refuse a file that holds a line of voxels or more beyond those of its header, whose sizes are then wrong.

    Args:
        path: the file, for messages.
        surplus: bytes behind the voxels.
        line: bytes of one line of voxels.
    """
    if surplus >= line:
        raise CXRReadError(
            path,
            f"holds {surplus} bytes more than the size in its header promises",
            "Its header is damaged; fetch it again.",
        )


def check_attached_voxels(path: str, kind: str, data: bytes, needed: int, line: int) -> None:
    """Check the voxels that follow an MHA or NRRD header in the same file: their number, and their checksum if any.

    Args:
        path: the file, for messages.
        kind: ``"metaimage"`` or ``"nrrd"``.
        data: its content.
        needed: bytes of all voxels by its header.
        line: bytes of one line of voxels.

    Raises:
        CXRReadError: there are more than promised.
        ValueError, zlib.error: the compressed data are damaged or cut.
    """
    found = _attached(kind, data)
    if found is None:
        return
    start, coding = found
    if coding == "raw":
        check_surplus(path, len(data) - start - needed, line)
        return
    inflater = zlib.decompressobj(47)  # zlib or gzip, as its first bytes say
    total, block = 0, data[start:]
    while block and not inflater.eof:
        total += len(inflater.decompress(block, _BLOCK))
        block = inflater.unconsumed_tail
        check_surplus(path, total - needed, line + _BLOCK)
    if not inflater.eof:
        raise ValueError("its compressed voxels are cut")
    check_surplus(path, total - needed, line)


def _attached(kind: str, data: bytes) -> tuple[int, str] | None:
    """Where the voxels begin and ``"raw"`` or ``"zlib"``; None where they are elsewhere or written otherwise."""
    head = data[:65536]
    if kind == "metaimage":
        end = re.search(rb"ElementDataFile\s*=\s*LOCAL[ \t]*\r?\n", head)
        # Text, or a header of stated length: no such film is known, and ITK's word has to do.
        if end is None or re.search(rb"(?m)^(HeaderSize|BinaryData\s*=\s*False)", head[: end.start()]):
            return None
        packed = re.search(rb"(?m)^CompressedData\s*=\s*True", head[: end.start()])
        return end.end(), "zlib" if packed else "raw"
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None or re.search(rb"(?mi)^(data ?file|line ?skip|byte ?skip):", head[: end.start()]):
        return None
    coding = re.search(rb"(?mi)^encoding:\s*(\w+)", head[: end.start()])
    name = coding[1].lower().decode() if coding else ""
    return (end.end(), {"raw": "raw", "gz": "zlib", "gzip": "zlib"}[name]) if name in ("raw", "gz", "gzip") else None
