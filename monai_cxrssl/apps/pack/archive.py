# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Unpack a zip or tar archive from elsewhere: plain files and folders only, inside the target, of bounded size.

``zipfile`` and ``tarfile`` mend or skip odd names, and ``tarfile``'s data filter refuses links that lead out, but none
bounds what is unpacked, and none sees that two names are one file. Here all members are looked at first; when one is
refused, nothing is written.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["MAX_FILES", "MAX_RATIO", "MAX_TOTAL_BYTES", "extract_archive"]

# A bundle is some dozen files; its weights, a few hundred megabytes, hardly compress.
MAX_FILES = 10_000
MAX_TOTAL_BYTES = 8 * 2**30
MAX_RATIO = 100
# Text compresses well; below this no ratio is judged.
_ALWAYS_FINE = 16 * 2**20
_BLOCK = 2**20
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open,
}  # fmt: skip
_DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
            NotImplementedError, RuntimeError)  # fmt: skip


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    # What it is in words when it is neither file nor folder.
    odd: str | None
    entry: Any


def extract_archive(
    archive: str | os.PathLike,
    target: str | os.PathLike,
    max_files: int = MAX_FILES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
    max_ratio: float = MAX_RATIO,
) -> list[str]:
    """Unpack into a new folder.

    Args:
        archive: zip, tar, or tar with gzip, bzip2 or xz; told by its content.
        target: a folder that does not exist yet; it is there only when all went well.
        max_files: members that it may have.
        max_total_bytes: of all files together, unpacked.
        max_ratio: unpacked to packed bytes, judged from 16 MiB unpacked.

    Returns:
        The names of the files, in the archive's order.

    Raises:
        ConfigurationError: a member's name leads out of the target, is absolute or stands twice; a member is a link, a
            device or encrypted; there are too many, or they unpack to too much; or the archive is damaged.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        raise ConfigurationError(f"{target} exists; name a folder that does not, for the content of {archive.name}.")
    limits = (max_files, max_total_bytes, max_ratio)
    try:
        with _opened(archive, max_total_bytes) as (members, open_member):
            listed = _checked(archive, members, *limits)
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                for member in listed:
                    _write(member, open_member, scratch)
                scratch.chmod(0o755)
                scratch.replace(target)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
    except ConfigurationError:
        raise
    except _DAMAGED as error:
        raise ConfigurationError(f"{archive} cannot be unpacked ({error}); fetch it again from its maker.") from None
    return [member.name for member in listed if not member.is_folder]


def _checked(
    archive: Path, members: Iterator[_Member], max_files: int, max_total_bytes: int, max_ratio: float
) -> list[_Member]:
    listed: list[_Member] = []
    seen: dict[str, bool] = {}
    total, packed = 0, max(1, archive.stat().st_size)
    for member in members:
        problem = _problem(member, seen)
        if problem is not None:
            raise ConfigurationError(f"{archive} is refused: its member {member.name!r} {problem}; ask its maker.")
        listed.append(member)
        total += member.size
        if len(listed) > max_files:
            raise ConfigurationError(f"{archive} is refused: it has more than {max_files} members; ask its maker.")
        if total > max_total_bytes or (total > _ALWAYS_FINE and total > max_ratio * packed):
            raise ConfigurationError(
                f"{archive} is refused: its {packed:,} bytes unpack to {total:,} or more, as a decompression bomb's "
                "do; ask its maker."
            )
    return listed


def _problem(member: _Member, seen: dict[str, bool]) -> str | None:
    """What is wrong with a member, given the names before it (True: a folder)."""
    name = member.name.rstrip("/") if member.is_folder else member.name
    parts = name.split("/")
    if member.odd is not None:
        return f"is {member.odd}"
    if not name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or "\\" in name:
        return "has an absolute name, or one that other systems read so"
    if ".." in parts:
        return "leads out of the folder"
    if any(part in ("", ".") for part in parts) or any(unicodedata.category(letter)[0] == "C" for letter in name):
        return "has a name that is not plain"
    # On some file systems case and composition of letters do not tell names apart.
    keys = [unicodedata.normalize("NFC", "/".join(parts[:end])).casefold() for end in range(1, len(parts) + 1)]
    if any(seen.get(key) is False for key in keys[:-1]):
        return "lies below a member that is a file"
    if keys[-1] in seen and not (member.is_folder and seen[keys[-1]]):
        return "stands in it twice"
    seen.update(dict.fromkeys(keys[:-1], True))
    seen[keys[-1]] = member.is_folder
    return None


def _write(member: _Member, open_member: Callable[[Any], IO[bytes]], folder: Path) -> None:
    path = folder / member.name
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with open_member(member.entry) as source, path.open("xb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise OSError(f"{member.name} unpacks to more than the {member.size} bytes that it declares")
            file.write(block)
    if left:
        raise OSError(f"{member.name} unpacks to fewer than the {member.size} bytes that it declares")


@contextlib.contextmanager
def _opened(archive: Path, max_total_bytes: int) -> Iterator[tuple[Iterator[_Member], Callable[[Any], IO[bytes]]]]:
    with archive.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        if zipfile.is_zipfile(raw):
            raw.seek(0)
            with zipfile.ZipFile(raw) as file:
                yield map(_zip_member, file.infolist()), file.open
            return
        raw.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        with (
            _Bounded(raw if opener is None else opener(raw), 2 * max_total_bytes) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,  # type: ignore[call-overload]
        ):
            yield map(_tar_member, tar), tar.extractfile


def _zip_member(entry: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    odd = None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        odd = "a symbolic link" if kind == stat.S_IFLNK else "a device or another special file"
    elif entry.flag_bits & 1:
        odd = "encrypted"
    # The library cuts a name at a NUL; what it stood for is in orig_filename.
    name = entry.orig_filename
    return _Member(name, entry.file_size, name.endswith("/"), odd, entry)


def _tar_member(entry: tarfile.TarInfo) -> _Member:
    odd = None
    if entry.issym() or entry.islnk():
        odd = "a link"
    elif entry.issparse() or not (entry.isreg() or entry.isdir()):
        odd = "a device or another special file"
    name = entry.name + ("/" if entry.isdir() else "")
    return _Member(name, entry.size if entry.isreg() else 0, entry.isdir(), odd, entry)


class _Bounded:
    """A stream that ends a bomb: tarfile reads a header's extension in one go, as long as it says it is."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit = stream, limit

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _BLOCK:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset > self._limit:
            raise tarfile.ReadError(f"more than {self._limit:,} bytes")
        return self._stream.seek(offset, whence)
