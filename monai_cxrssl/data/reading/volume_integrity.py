# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checksums and surplus voxels of NIfTI, MHA and NRRD files."""

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

    A compressed file is inflated to its end, since its checksum stands there. OSError, EOFError or zlib.error: the
    compressed data are damaged, cut, or go on far behind the voxels.
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
    """Refuse a file whose ``surplus`` bytes behind the voxels make a ``line`` of voxels: its header is then wrong."""
    if surplus >= line:
        cause = f"holds {surplus} bytes more than the size in its header promises"
        raise CXRReadError(path, cause, "Its header is damaged; fetch it again.")


def check_attached_voxels(path: str, kind: str, data: bytes, needed: int, line: int) -> None:
    """Check the number of voxels behind the header of an MHA or NRRD, and their checksum if any.

    By the header, all voxels take ``needed`` bytes, and one line of them ``line``. CXRReadError: there are more;
    ValueError or zlib.error: the compressed data are damaged or cut.
    """
    start, coding = _attached(kind, data)
    if not coding:
        return
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


def _attached(kind: str, data: bytes) -> tuple[int, str]:
    """Return where the voxels begin, and ``"raw"``, ``"zlib"``, or ``""`` where they are elsewhere or coded else."""
    head = data[:65536]
    if kind == "metaimage":
        # Text, or a header of stated length: no such image is known, and ITK's word has to do.
        last, other = rb"ElementDataFile\s*=\s*LOCAL[ \t]*\r?\n", rb"(?m)^(HeaderSize|BinaryData\s*=\s*False)"
    else:
        last, other = rb"\r?\n\r?\n", rb"(?mi)^(data ?file|line ?skip|byte ?skip):"
    end = re.search(last, head)
    if end is None or re.search(other, head[: end.start()]):
        return 0, ""
    fields = head[: end.start()]
    if kind == "metaimage":
        return end.end(), "zlib" if re.search(rb"(?m)^CompressedData\s*=\s*True", fields) else "raw"
    encoding = re.search(rb"(?mi)^encoding:\s*(\w+)", fields)
    name = encoding[1].lower() if encoding else b""
    return end.end(), {b"raw": "raw", b"gz": "zlib", b"gzip": "zlib"}.get(name, "")
