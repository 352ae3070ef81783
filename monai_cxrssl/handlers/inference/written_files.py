# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Record of the files that inference wrote into a folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256

__all__ = ["WrittenFiles"]

logger = logging.getLogger(__name__)

_RECORD = "inference_files.jsonl"
_FOLDERS = ("masks", "overlays", "outlines", "dicom_seg", "dicom_sr", "dicom_sc", "dicom_gsps")
_TABLES = ("predictions.csv", "masks.csv", "overlays.csv", "lungs.csv", "dicom_results.csv")


class WrittenFiles:
    """Write files below a folder from any thread, keep a list of them, and remove those of an earlier inference.

    ``inference_files.jsonl`` holds two lines for each file: ``{"file": "masks/film.png"}`` before it is written, so
    that a killed run's files are known too, and ``{"file": ..., "sha256": ...}`` afterwards. What is not in the list,
    or was changed since, is a user's, and is neither removed nor replaced, the tables excepted.

    Args:
        output_dir: the folder.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = Path(output_dir)
        self._lock = threading.Lock()

    def refuse_foreign(self, places: Iterable[str]) -> None:
        """Refuse a folder with files of a user that this inference would replace.

        Args:
            places: of the files that may be written, below the folder.

        Raises:
            ConfigurationError: such a file is there; it names the first.
        """
        there = {f"{name}/{file.name}" for name in _FOLDERS for file in _files(self.output_dir / name)}
        written = self._written()
        foreign = sorted(place for place in there.intersection(places) if not self._is_own(place, written))
        if foreign:
            raise ConfigurationError(
                f"{self.output_dir} holds {len(foreign)} files that inference would replace but did not write, or that "
                f"were changed since, such as {foreign[0]}; give another --output_dir, or move them away."
            )

    def remove_earlier(self) -> None:
        """Remove what an earlier inference wrote, and begin a new list."""
        written = self._written()
        own = [place for place in written if self._is_own(place, written)]
        for place in own:
            (self.output_dir / place).unlink(missing_ok=True)
        for name in _FOLDERS:
            with contextlib.suppress(OSError):  # there is none, or it holds a user's files
                (self.output_dir / name).rmdir()
        (self.output_dir / _RECORD).unlink(missing_ok=True)
        if own:
            logger.info("Removed the %d files of the earlier inference in %s.", len(own), self.output_dir)

    @contextlib.contextmanager
    def write(self, place: str) -> Iterator[Path]:
        """Give the path of a file to be written, and keep it in the list."""
        path = self.output_dir / place
        self._note(file=place)
        yield path
        if path.exists():
            self._note(file=place, sha256=sha256(path))

    def _note(self, **entry: str) -> None:
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with self._lock, open(self.output_dir / _RECORD, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _written(self) -> dict[str, str | None]:
        """SHA-256 of the files in the list; None of those whose writing was cut off."""
        written: dict[str, str | None] = {}
        try:
            lines = (self.output_dir / _RECORD).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return written
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # cut off by a kill
                entry = json.loads(line)
                written[str(entry["file"])] = entry.get("sha256")
        return {place: digest for place, digest in written.items() if _may_be_ours(place)}

    def _is_own(self, place: str, written: dict[str, str | None]) -> bool:
        path = self.output_dir / place
        if place not in written or not path.is_file() or path.is_symlink():
            return False
        return written[place] is None or written[place] == sha256(path)


def _may_be_ours(place: str) -> bool:
    """Whether the list names a file where inference writes; it is a text that anybody may have changed."""
    folder, _, name = place.partition("/")
    return place in _TABLES or (folder in _FOLDERS and Path(name).name == name and name not in ("", ".", ".."))


def _files(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
