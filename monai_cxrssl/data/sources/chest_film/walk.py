# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Walk over a folder tree for files that may be chest films."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.left_out import LeftOut
from monai_cxrssl.data.sources.chest_film.candidate import Candidate, look_at_file
from monai_cxrssl.data.sources.chest_film.names import folder_kind, is_snapshot, packed_kind

__all__ = ["walk_files"]

logger = logging.getLogger(__name__)

# fmt: off
_OTHER_EXTENSIONS = frozenset({
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".xml", ".html", ".htm", ".pdf", ".yaml", ".yml",
    ".xls", ".xlsx", ".doc", ".docx", ".ppt", ".pptx", ".odt", ".ods", ".rtf", ".log", ".py", ".ipynb", ".pt", ".pth",
    ".ckpt", ".onnx", ".safetensors", ".npy", ".npz", ".pkl", ".mat", ".h5", ".hdf5", ".parquet", ".raw", ".db",
    ".ini", ".sql", ".sqlite", ".svg", ".css", ".js", ".exe", ".dll", ".so", ".mp4", ".avi", ".mov", ".wav", ".mp3",
})
# fmt: on
#: Files that tell a folder as one that this package wrote.
_OWN_MARKS = ({"run.json"}, {"items.json", "cache.json"}, {"index.html", "metrics.json", "provenance.json"})
_INFERENCE_RECORD = "inference_files.jsonl"


def walk_files(folder: Path, left_out: LeftOut) -> Iterator[Candidate]:
    """Yield every file that may be an image, each real folder once, and count what is left out by its place or name.

    A file with an image's name is yielded whatever it holds: the reader refuses it by name. Of the others those are
    yielded that hold an image. What lies in folders that are left out is counted by names alone, a folder of snapshots
    as one; of hidden folders only files with an image's extension count.

    Costs one listing per folder, and 4 KiB read of each file yielded.
    """
    top = str(folder)
    pending = [(top, "")]
    visited: set[tuple[int, int]] = set()
    written: set[str] = set()
    while pending:
        here, kind = pending.pop()
        names = _listed(here, visited)
        if not kind and here != top and "own_output" not in left_out.keep and _is_own(here, names):
            kind = "own_output"
        if _INFERENCE_RECORD in names:
            written |= _written_files(here)
        folders = []
        for name in names:
            path = f"{here}{os.sep}{name}"
            if os.path.isdir(path):  # noqa: PTH112
                inner = kind or folder_kind(name) or ("hidden" if name.startswith(".") else "")
                if inner == "system" and is_snapshot(name) and left_out.add(inner, path, name):
                    continue
                folders.append((path, "" if inner in left_out.keep or _keeps_hidden(inner, left_out) else inner))
                continue
            extension = file_extension(name)
            hidden = name.startswith(".") and "system" not in left_out.keep
            may_be_image = extension in IMAGE_EXTENSIONS or not (kind == "hidden" or hidden)
            if kind or hidden:
                if may_be_image and extension not in _OTHER_EXTENSIONS:
                    left_out.add("system" if kind in ("", "hidden") else kind, path)
            elif packed := packed_kind(name):
                left_out.add("packed", path, packed)
            elif name.upper().split(".")[0] == "DICOMDIR":
                if not left_out.add("dicomdir", path):
                    yield look_at_file(path, _relative(path, top))
            elif extension in _OTHER_EXTENSIONS:
                left_out.add("other_file", path, extension)
            else:
                candidate = look_at_file(path, _relative(path, top))
                if (path in written or candidate.own) and left_out.add("own_output", path):
                    continue
                if extension in IMAGE_EXTENSIONS or candidate.kind:
                    yield candidate
                elif candidate.packed:
                    left_out.add("packed", path, candidate.packed)
                else:
                    left_out.add("other_file", path, extension)
        pending.extend(reversed(folders))


def _listed(here: str, visited: set[tuple[int, int]]) -> list[str]:
    """Sorted names in a folder; none when it was listed before or cannot be."""
    try:
        status = os.stat(here)  # noqa: PTH116 (follows links: a loop leads to a folder seen before)
        if (status.st_dev, status.st_ino) in visited:
            return []
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(here) as entries:
            return sorted(entry.name for entry in entries)
    except OSError as error:
        logger.warning("folder %s cannot be listed (%s); passed over", here, error.strerror or error)
        return []


def _keeps_hidden(kind: str, left_out: LeftOut) -> bool:
    return kind == "hidden" and "system" in left_out.keep


def _is_own(here: str, names: list[str]) -> bool:
    """Whether a folder is a run, a cache, a report or a phantom of this package."""
    if any(mark.issubset(names) for mark in _OWN_MARKS[1:]):
        return True
    if "run.json" in names:
        return {"kind", "status", "config", "version"} <= _keys(here, "run.json")
    return {"manifest.json", "datalist.json"}.issubset(names) and "files" in _keys(here, "manifest.json")


def _keys(here: str, name: str) -> set[str]:
    try:
        content = json.loads(Path(here, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def _written_files(here: str) -> set[str]:
    """Paths of the files that an inference into this folder recorded."""
    try:
        lines = Path(here, _INFERENCE_RECORD).read_text(encoding="utf-8").splitlines()
        return {f"{here}{os.sep}{json.loads(line)['file'].replace('/', os.sep)}" for line in lines if line.strip()}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _relative(path: str, top: str) -> str:
    return path[len(top) :].lstrip(os.sep).replace(os.sep, "/")
