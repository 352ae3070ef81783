# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""File names as other systems write them, matched with files.

Names differ in ``\\`` for ``/``, capitals, composed or decomposed accents (NFC, NFD), the extension, and folders before
the name. A match counts where it is the only one.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension, image_stem

__all__ = ["FileNames", "FolderNames", "files_below", "same_id"]


def same_id(text: str) -> str:
    """Return what spellings of one number or id share: capitals, ``1``, ``1.0`` and ``01``.

    Example:
        >>> same_id("0012"), same_id("12.0"), same_id("ACC-1"), same_id("1.2.0")
        ('12', '12', 'acc-1', '1.2.0')
    """
    word = unicodedata.normalize("NFC", text.strip()).casefold()
    whole, dot, rest = word.partition(".")
    if whole.isdigit() and not (dot and rest.strip("0")):
        return whole.lstrip("0") or "0"
    return word


def _loose(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _parts(text: str) -> list[str]:
    return [part for part in posixpath.normpath(_loose(text.strip()).replace("\\", "/")).split("/") if part]


class FileNames:
    """Paths to be found by other spellings.

    Args:
        files: paths with ``/``; a name matches one when the folders that both have agree from the end: ``x/a.png`` is
            ``a.png`` and ``films\\x\\A.PNG``, not ``y/a.png``.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = [_parts(file) for file in files]
        self._by_name: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        for number, parts in enumerate(self._files):
            if parts:
                self._by_name[parts[-1]].append(number)
                self._by_stem[image_stem(parts[-1])].append(number)

    def find(self, text: str) -> int | None:
        """Return the place of the one file that a text may name, ``None`` when there is none or several."""
        parts = _parts(text)
        if not parts:
            return None
        for same in (self._by_name.get(parts[-1], ()), self._by_stem.get(image_stem(parts[-1]), ())):
            fitting = [number for number in same if self._agree(parts, self._files[number])]
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        return None

    @staticmethod
    def _agree(one: list[str], other: list[str]) -> bool:
        count = min(len(one), len(other)) - 1
        return one[:-1][len(one) - 1 - count :] == other[:-1][len(other) - 1 - count :]


class FolderNames:
    """Files of a folder to be found by other spellings of their paths, folder by folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self._lists: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}

    def find(self, text: str) -> str | None:
        """Return the path of the one file that a relative path may name, ``None`` when there is none or several."""
        *folders, name = text.strip().replace("\\", "/").split("/")
        here = ""
        for part in folders:
            if part in ("", ".", ".."):
                here += part + "/" * bool(part)
                continue
            names = (
                [part] if Path(f"{self.folder}/{here}{part}").is_dir() else self._list(here)[0].get(_loose(part), [])
            )
            if len(names) != 1:
                return None
            here += f"{names[0]}/"
        names = self._list(here)[0].get(_loose(name)) or self._list(here)[1].get(image_stem(_loose(name))) or []
        return here + names[0] if len(names) == 1 else None

    def _list(self, here: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The names in a folder by their loose form; images also by that without extension."""
        if here not in self._lists:
            names: dict[str, list[str]] = defaultdict(list)
            stems: dict[str, list[str]] = defaultdict(list)
            try:
                listed = sorted(os.listdir(f"{self.folder}/{here}"))  # noqa: PTH208
            except OSError:
                listed = []
            for name in listed:
                names[_loose(name)].append(name)
                if file_extension(name) in IMAGE_EXTENSIONS:
                    stems[image_stem(_loose(name))].append(name)
            self._lists[here] = names, stems
        return self._lists[here]


def files_below(folder: Path) -> list[str]:
    """List the images below a folder, relative to it, without hidden ones."""
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        top = Path(os.path.relpath(here, folder)).as_posix()
        images = (
            name for name in sorted(files) if not name.startswith(".") and file_extension(name) in IMAGE_EXTENSIONS
        )
        found += [name if top == "." else f"{top}/{name}" for name in images]
    return found
