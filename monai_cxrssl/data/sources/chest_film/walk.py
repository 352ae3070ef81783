# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Walk over a folder tree for files that may be chest X-rays."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from monai_cxrssl.data.datalists.image_names import IMAGE_EXTENSIONS, file_extension
from monai_cxrssl.data.datalists.left_out import LeftOut
from monai_cxrssl.data.sources.chest_film.candidate import Candidate, look_at_file
from monai_cxrssl.data.sources.chest_film.folder_walk import FolderWalk
from monai_cxrssl.data.sources.chest_film.names import folder_kind, is_snapshot, packed_kind
from monai_cxrssl.files import ordered_map

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


class _File(NamedTuple):
    """A file of the tree: what its place or name tells it to be, or ``""`` where its first bytes are to be read."""

    path: str
    kind: str = ""
    detail: str = ""
    #: Whether an inference recorded that it wrote the file.
    written: bool = False
    #: Whether it is given whatever it holds.
    given: bool = False


def walk_files(folder: Path, left_out: LeftOut) -> Iterator[Candidate]:
    """Yield every file that may be an image, each real folder once, and count what is left out by its place or name.

    A file with an image's name is yielded whatever it holds: the reader refuses it by name. Of the others those are
    yielded that hold an image. What lies in folders that are left out is counted by names alone, a folder of snapshots
    as one; of hidden folders only files with an image's extension count.

    Costs one listing per folder, and 4 KiB read of each file yielded, each of many at once.
    """
    top = str(folder)

    def look(file: _File) -> tuple[_File, Candidate | None]:
        relative = file.path[len(top) :].lstrip(os.sep).replace(os.sep, "/")
        return file, None if file.kind else look_at_file(file.path, relative)

    for file, candidate in ordered_map(look, _files(top, left_out.keep), name="walk"):
        extension = file_extension(file.path)
        if candidate is None:
            left_out.add(file.kind, file.path, file.detail)
        elif file.given:
            yield candidate
        elif (file.written or candidate.own) and left_out.add("own_output", file.path):
            continue
        elif extension in IMAGE_EXTENSIONS or candidate.kind:
            yield candidate
        elif candidate.packed:
            left_out.add("packed", file.path, candidate.packed)
        else:
            left_out.add("other_file", file.path, extension)


def _files(top: str, keep: Collection[str]) -> Iterator[_File]:
    """Yield what stands in the folders, by names alone."""
    kinds = {top: ""}
    written: set[str] = set()
    walk = FolderWalk(top, lambda name: not is_snapshot(name))
    for here, (_, names, error) in walk:
        kind = kinds.pop(here)
        if error is not None:
            logger.warning("folder %s cannot be listed (%s); passed over", here, error.strerror or error)
        if not kind and here != top and "own_output" not in keep and _is_own(here, names):
            kind = "own_output"
        if _INFERENCE_RECORD in names:
            written |= _written_files(here)
        folders: dict[str, str] = {}
        for name, is_folder in names.items():
            path = f"{here}{os.sep}{name}"
            if is_folder:
                inner = kind or folder_kind(name) or ("hidden" if name.startswith(".") else "")
                if inner == "system" and is_snapshot(name) and inner not in keep:
                    yield _File(path, inner, name)
                    continue
                kept = inner in keep or (inner == "hidden" and "system" in keep)
                folders[path] = "" if kept else inner
                continue
            extension = file_extension(name)
            hidden = name.startswith(".") and "system" not in keep
            may_be_image = extension in IMAGE_EXTENSIONS or not (kind == "hidden" or hidden)
            if kind or hidden:
                if may_be_image and extension not in _OTHER_EXTENSIONS:
                    yield _File(path, "system" if kind in ("", "hidden") else kind)
            elif packed := packed_kind(name):
                yield _File(path, "packed", packed)
            elif name.upper().split(".")[0] == "DICOMDIR":
                yield _File(path, given=True) if "dicomdir" in keep else _File(path, "dicomdir")
            elif extension in _OTHER_EXTENSIONS:
                yield _File(path, "other_file", extension)
            else:
                yield _File(path, written=path in written)
        kinds |= folders
        walk.enter(folders)


def _is_own(here: str, names: Collection[str]) -> bool:
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
