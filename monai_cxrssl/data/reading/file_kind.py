# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""File format by magic bytes, and opening and refusing files without blocking."""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from monai_cxrssl.errors import CXRReadError

__all__ = ["COPY_AGAIN", "REFETCH", "error_words", "file_kind", "open_regular_file", "read_whole_file", "refuse_damage"]

# The largest detectors give 30 million pixels of 2 bytes; this leaves room for float volumes and no more.
MAX_FILE_BYTES = 2 * 2**30

# Remedies for damage.
COPY_AGAIN = "Copy or download the file again."
REFETCH = "Fetch the file again from its source."

_HEAD = 4096

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "tiff"),
    b"NRRD000": "nrrd",
}

# Contents that people do meet in image folders and that deserve their name in the message.
_REFUSED_MAGIC = (
    (b"GIF8", "is a GIF, not a radiograph format", "Export the image as DICOM or PNG."),
    (b"RIFF", "is a RIFF container (WebP, AVI or WAV)", "Export the image as DICOM or PNG."),
    (b"%PDF", "is a PDF document", "Export the image in it as DICOM or PNG."),
    (b"PK\x03\x04", "is a zip archive", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "Unpack it first."),
    (b"\x93NUMPY", "is a NumPy array file", "Save it as PNG, TIFF or NIfTI."),
    (b"\x89HDF", "is an HDF5 file", "Export its images as PNG or DICOM."),
    (b"\x00\x00\x00\x0cjP  ", "is a bare JPEG 2000 file", "Export the image as DICOM or PNG."),
    (b"\xff\x4f\xff\x51", "is a bare JPEG 2000 code stream", "Export the image as DICOM or PNG."),
    (b"\x00\x00\x00\x0cJXL ", "is a JPEG XL image", "Export the image as PNG (djxl FILE OUT.png)."),
    (b"\xff\x0a", "is a JPEG XL image", "Export the image as PNG (djxl FILE OUT.png)."),
    (b"P5\n", "is a PGM image", "Save it as PNG, which keeps every value."),
    (b"\x1f\x8b", "is a gzip archive that holds no NIfTI image", "Unpack it first."),
)

# Boxes of ISO media: what the brand after ``ftyp`` stands for.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC image"),
}
_PHONE = "Export it as PNG, or let the telephone save JPEG (on an iPhone: Settings, Camera, Formats, Most Compatible)."

_OPEN_CAUSES = {
    errno.ENOENT: ("does not exist (any more)", "Check the path in the datalist and that the disk is mounted."),
    errno.ELOOP: ("is a loop of symbolic links", "Replace the link by the file that it should name."),
    errno.EACCES: ("may not be read by this user", "Grant read permission on the file and on its folders."),
    errno.ENAMETOOLONG: ("has a name that is too long for the file system", "Rename the file."),
}


def open_regular_file(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file for reading, refusing at once (CXRReadError) whatever is not one: missing, unreadable, a
    directory, FIFO, device or socket, empty, or larger than ``MAX_FILE_BYTES``."""
    name = os.fsdecode(path)
    # Without O_NONBLOCK, opening a FIFO that nobody writes to would never return.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _check_regular(name, os.stat(name).st_mode)  # noqa: PTH116 (odd names pass unchanged)
        handle = os.open(name, flags)
    except CXRReadError:
        raise
    except OSError as error:
        cause, remedy = _OPEN_CAUSES.get(
            error.errno or 0, (f"cannot be opened ({error.strerror})", "Check the path and the file system.")
        )
        raise CXRReadError(name, cause, remedy) from error
    except ValueError as error:  # a null byte in the name
        raise CXRReadError(name, f"is not a possible file name ({error})", "Correct the datalist.") from error
    try:
        status = os.fstat(handle)
        _check_regular(name, status.st_mode)
        if status.st_size == 0:
            raise CXRReadError(name, "is empty (0 bytes)", COPY_AGAIN)
        if status.st_size > MAX_FILE_BYTES:
            cause = f"holds {status.st_size / 2**30:.1f} GiB, more than any radiograph"
            raise CXRReadError(name, cause, "Check that it is one X-ray and not a volume or an archive.")
    except CXRReadError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_whole_file(path: str | os.PathLike) -> bytes:
    """Return the content of a regular file; errors as of :func:`open_regular_file`, and when the disk fails while
    reading."""
    with open_regular_file(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise CXRReadError(path, f"cannot be read ({error.strerror})", "Check the disk or the network.") from error


@contextmanager
def refuse_damage(path: str | os.PathLike, cause: str, remedy: str = REFETCH, typed: bool = False) -> Iterator[None]:
    """Refuse, as CXRReadError, a file on which a library raises anything, from EOFError to RecursionError.

    Args:
        path, remedy: as for CXRReadError, which goes through unchanged when raised within.
        cause: half a sentence with ``{}`` for the library's words.
        typed: name the class of the library's exception too.
    """
    try:
        yield
    except CXRReadError:
        raise
    except Exception as error:
        raise CXRReadError(path, cause.format(error_words(error, typed)), remedy) from error


def error_words(error: BaseException, typed: bool = False) -> str:
    """Return an exception in one line of at most 300 letters, or its class where it says nothing."""
    if typed:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return " ".join(str(error).split())[-300:] or type(error).__name__


def file_kind(path: str | os.PathLike, head: bytes | None = None) -> str:
    """Return ``"dicom"``, ``"png"``, ``"jpeg"``, ``"tiff"``, ``"bmp"``, ``"nifti"``, ``"metaimage"`` or ``"nrrd"``.

    The file is opened only if its first 4096 bytes (``head``) are not given. CXRReadError: the content is not an image
    format that can hold a chest X-ray; the cause says what it is.
    """
    name = os.fsdecode(path)
    if head is None:
        with open_regular_file(name) as file:
            head = file.read(_HEAD)
    head = head[:_HEAD]
    # First, because a DICOM preamble may hold the header of another format (dual-use DICOM-TIFF).
    if head[128:132] == b"DICM":
        return "dicom"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head.startswith(b"BM") and len(head) > 26 and head[6:10] == b"\x00\x00\x00\x00":
        return "bmp"
    if b"ElementDataFile" in head and b"NDims" in head:
        return "metaimage"
    if _is_nifti(name, head):
        return "nifti"
    if _is_bare_dicom(head):
        return "dicom"
    if head[4:8] == b"ftyp":
        compatible = [head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), _HEAD), 4)]
        brand = next((_BRANDS[b] for b in (head[8:12], *compatible) if b in _BRANDS), "")
        raise CXRReadError(name, f"is {brand or 'a video'}", _PHONE if brand else "Give the image itself.")
    for magic, cause, remedy in _REFUSED_MAGIC:
        if head.startswith(magic):
            raise CXRReadError(name, cause, remedy)
    if not head.strip(b"\x00"):
        cause = "begins with nothing but zero bytes, as an interrupted copy leaves it"
        raise CXRReadError(name, cause, "Copy the file again.")
    if text := _text_cause(head):
        raise CXRReadError(name, *text)
    cause = f"is of no known image format (first bytes {head[:8].hex(' ')})"
    raise CXRReadError(name, cause, "Give DICOM, PNG, JPEG, TIFF, BMP, NIfTI, MHA or NRRD.")


def _check_regular(name: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO (named pipe)", stat.S_IFSOCK: "a socket"}
    kinds |= {stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device"}
    kind = kinds.get(stat.S_IFMT(mode), "a special file")
    raise CXRReadError(name, f"is {kind}, not a file", "Name one image file.")


def _is_nifti(name: str, head: bytes) -> bool:
    if head.startswith(b"\x1f\x8b"):
        try:
            # No more than the header: a wrong checksum further on is damage for the reader to name.
            head = zlib.decompressobj(31).decompress(head, 560)
        except zlib.error:
            return False
    if len(head) < 348:
        return False
    size = {struct.unpack(f"{order}i", head[:4])[0] for order in "<>"}
    if 348 in size:
        if head[344:348] == b"n+1\x00":
            return True
        if head[344:348] == b"ni1\x00":
            raise CXRReadError(name, "is the header of a NIfTI pair (.hdr/.img)", "Convert the pair to one .nii file.")
        cause = f"starts like NIfTI or Analyze but its magic is {head[344:348]!r} instead of b'n+1\\x00'"
        raise CXRReadError(name, cause, "Export it again as NIfTI-1 (.nii or .nii.gz).")
    return 540 in size and head[4:8] == b"n+2\x00"


def _is_bare_dicom(head: bytes) -> bool:
    """Return whether it is a data set without preamble: it opens with an element of group 0002 or 0008."""
    if len(head) < 12:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(order + "HH", head[:4])
        if group not in (0x0002, 0x0008) or element > 0x2000:
            continue
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if explicit or (order == "<" and struct.unpack("<I", head[4:8])[0] < 2**16):
            return True
    return False


def _text_cause(head: bytes) -> tuple[str, str] | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is a text file (UTF-16)", "Give the image itself."
    if any(byte < 32 and byte not in b"\t\n\r\f\b\x1b" for byte in head):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # Either the sample ends within a character, or it is a single-byte encoding of mostly plain letters.
        plain = sum(byte < 127 for byte in head) > 0.7 * len(head) and not any(127 <= byte < 160 for byte in head)
        if error.start < _HEAD - 4 and not plain:
            return None
    start = head.lower().lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        cause = "is text: an HTML page, as a server sends for a login or an error"
        return cause, "Log in and download the image again."
    if start.startswith(b"version https://git-lfs"):
        return "is a text file: a Git LFS pointer, not the image", "Fetch the image with 'git lfs pull'."
    return "is a text file, not an image", "Give the image itself; a table of labels belongs in the datalist."
