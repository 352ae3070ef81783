# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Line lists of file name and label."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_cxrssl.data.datalists.rows import shown_rows
from monai_cxrssl.data.sources.tables.file_names import FolderNames
from monai_cxrssl.data.sources.tables.table_file import open_text
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.files import ask_all

__all__ = ["check_unique_lines", "keep_existing_lines", "read_lines", "refuse_lines"]

logger = logging.getLogger(__name__)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not blank, stripped, with their numbers counted from 1.

    Raises:
        DatalistError: the file cannot be read as text, or lists nothing.
    """
    try:
        with open_text(path) as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DatalistError(f"{path} cannot be read as a list of images ({error}).") from error
    refuse_lines(
        path,
        [number for number, line in enumerate(text.splitlines(), 1) if "\ufffd" in line],
        "letters that are not in UTF-8",
        "save the list in UTF-8",
    )
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DatalistError(f"{path} lists nothing; expected one line per image.")
    return lines


def refuse_lines(path: Path, lines: Iterable[int], problem: str, remedy: str) -> None:
    """Raise a :class:`DatalistError` that names the first lines, when there are any.

    ``problem`` (what these lines have) and ``remedy`` (what to do) are half sentences.
    """
    listed = list(lines)
    if listed:
        raise DatalistError(f"{path}, {shown_rows(listed, 'line')}: {problem}; {remedy}.")


def check_unique_lines(path: Path, lines: Sequence[int], images: Sequence[str]) -> None:
    """Refuse lines that name an image which an earlier line named."""
    first: dict[str, int] = {}
    again = [(n, image) for n, image in zip(lines, images, strict=True) if first.setdefault(image, n) != n]
    if again:
        problem = f"the image {again[0][1]} was listed before, in line {first[again[0][1]]}"
        refuse_lines(path, (number for number, _ in again), problem, "remove the duplicate lines")


def keep_existing_lines(
    path: Path, lines: Sequence[int], images: Sequence[str], folder: Path, allow_absent: bool
) -> dict[int, str]:
    """Look for every listed image and return the paths of those that exist by their positions in ``images``.

    Args:
        path: the list, and ``lines`` its line numbers.
        images: one path per line, relative to ``folder``.
        allow_absent: leave lines of absent images out, with a line in the log, instead of refusing them.

    Raises:
        DatalistError: an image is absent (or all are, with ``allow_absent``).
    """
    # lexists: a broken link or an unreadable file is the reader's to refuse, by name.
    exist = ask_all(lambda image: os.path.lexists(folder / image), images)
    kept = {index: image for index, image in enumerate(images) if exist[index]}
    names = FolderNames(folder)
    respelt = {index: names.find(image) for index, image in enumerate(images) if index not in kept}
    once = Counter([*kept.values(), *respelt.values()])
    kept |= {index: image for index, image in respelt.items() if image and once[image] == 1}
    absent = sorted(set(range(len(images))) - set(kept))
    if absent:
        where = f"(looked for {folder / images[absent[0]]})"
        if not allow_absent or not kept:
            remedy = "give the folder that holds both the list and its images"
            if kept:
                remedy = "put the images there, or leave such lines out with allow_absent=True"
            files = "the listed file does" if len(absent) == 1 else "the listed files do"
            refuse_lines(path, [lines[index] for index in absent], f"{files} not exist {where}", remedy)
        logger.warning("%s: %d of %d listed images are absent %s; left out", path, len(absent), len(images), where)
    return dict(sorted(kept.items()))
