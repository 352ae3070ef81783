# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Unpacking of untrusted zip and tar archives, of bounded size.

:func:`monai.apps.utils.extractall` refuses links of tar and names that lead out, but bounds no size, and sees neither
links of zip nor two names of one file. Here all members are looked at first; when one is refused, nothing is written.
"""

from __future__ import annotations

import logging
import lzma
import os
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError

__all__ = ["MAX_FILES", "MAX_RATIO", "MAX_TOTAL_BYTES", "extract_archive"]

# A bundle is some dozen files; its weights, a few hundred megabytes, hardly compress.
MAX_FILES = 10_000
MAX_TOTAL_BYTES = 8 * 2**30
MAX_RATIO = 100
_ALWAYS_FINE = 16 * 2**20  # text compresses well; below this no ratio is judged
_LONGEST_HEADER = 2**20
_EXTENSIONS = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
               tarfile.GNUTYPE_LONGLINK}  # fmt: skip
_DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
            NotImplementedError, RuntimeError)  # fmt: skip


def extract_archive(
    archive: str | os.PathLike,
    target: str | os.PathLike,
    max_files: int = MAX_FILES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
    max_ratio: float = MAX_RATIO,
) -> None:
    """Unpack the files of an archive into a new folder, which is there only when all went well.

    Args:
        archive: zip, tar, or tar with gzip, bzip2 or xz; told by its content, but no tar may be named ``zip``.
        max_total_bytes: of all files together, unpacked.
        max_ratio: unpacked to packed bytes, judged from 16 MiB unpacked.

    Raises:
        ConfigurationError: a member's name leads out of the target, is absolute or stands twice; a member is a link, a
            device or encrypted; there are too many, or they unpack to too much; the archive is damaged, or the target
            exists.
    """
    from monai.apps.utils import extractall

    archive, target = Path(archive), Path(target)
    if target.exists():
        raise ConfigurationError(f"{target} exists; name a folder that does not, for the content of {archive.name}.")
    logger = logging.getLogger("monai.apps")  # prints where it writes, which is nobody's business here
    level = logger.level
    try:
        kind = "zip" if zipfile.is_zipfile(archive) else "tar"
        _refuse_danger(archive, max_files, max_total_bytes, max_ratio)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            content = Path(scratch) / "content"
            content.mkdir()
            logger.setLevel(logging.WARNING)
            extractall(archive, content, file_type=kind, has_base=False)
            content.replace(target)
    except ConfigurationError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{archive} cannot be unpacked ({reason}); fetch it again from its maker.") from None
    finally:
        logger.setLevel(level)


def _refuse_danger(archive: Path, max_files: int, max_total_bytes: int, max_ratio: float) -> None:
    total, packed = 0, max(1, archive.stat().st_size)
    seen: dict[str, bool] = {}
    for number, (name, size, mode) in enumerate(_members(archive), 1):
        problem = _problem(name, mode, seen)
        if problem is not None:
            raise ConfigurationError(f"{archive} is refused: its member {name!r} {problem}; ask its maker.")
        total += size
        if number > max_files:
            raise ConfigurationError(f"{archive} is refused: it has more than {max_files} members; ask its maker.")
        if total > max_total_bytes or (total > _ALWAYS_FINE and total > max_ratio * packed):
            raise ConfigurationError(
                f"{archive} is refused: its {packed:,} bytes unpack to {total:,} or more, as a decompression bomb's "
                "do; ask its maker."
            )


def _members(archive: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, unpacked bytes and type (as in :mod:`stat`, 0 for others) of each member."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                # The library cuts a name at a NUL; what it stood for is in orig_filename.
                name = entry.orig_filename
                plain = stat.S_IFDIR if name.endswith("/") else stat.S_IFREG
                kind = stat.S_IFMT(entry.external_attr >> 16)
                yield name.removesuffix("/"), entry.file_size, plain if kind in (0, stat.S_IFREG, stat.S_IFDIR) else 0
        return
    with tarfile.open(archive, tarinfo=_BoundedHeader) as tar:
        for member in tar:
            plain = stat.S_IFDIR if member.isdir() else stat.S_IFREG if member.isreg() else 0
            yield member.name, abs(member.size) if member.isreg() else 0, 0 if member.issparse() else plain


class _BoundedHeader(tarfile.TarInfo):
    """tarfile reads a header's extension in one go, as long as it says it is; a negative length is the whole file."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.size > _LONGEST_HEADER and header.type in _EXTENSIONS):
            raise ValueError(f"it has a header of {header.size:,} bytes")
        return header


def _problem(name: str, kind: int, seen: dict[str, bool]) -> str | None:
    """Say what is wrong with a member, given the names before it (True: a folder)."""
    parts = name.split("/")
    if not kind:
        return "is a link, a device or another special file"
    if {"", ".", ".."} & set(parts) or re.match(r"[A-Za-z]:", name) or "\\" in name:
        return "has a name that leads out of the folder, or may do so on other systems"
    if any(unicodedata.category(letter)[0] == "C" for letter in name):
        return "has a name that is not plain"
    # On some file systems case and composition of letters do not tell names apart.
    keys = [unicodedata.normalize("NFC", "/".join(parts[:end])).casefold() for end in range(1, len(parts) + 1)]
    is_folder = stat.S_ISDIR(kind)
    if any(seen.get(key) is False for key in keys[:-1]):
        return "lies below a member that is a file"
    if keys[-1] in seen and not (is_folder and seen[keys[-1]]):
        return "stands in it twice"
    seen |= dict.fromkeys(keys[:-1], True) | {keys[-1]: is_folder}
    return None
