# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of files that are no chest X-rays, counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from monai_cxrssl.errors import ConfigurationError

__all__ = ["DOUBTS", "KINDS", "RECORDS", "LeftOut", "map_examples", "merge_records", "sentence"]

#: Kind to its name in a sentence.
KINDS = {
    "no_pixels": "DICOM objects without pixels",
    "dicomdir": "DICOMDIR",
    "modality": "of another modality",
    "colour": "colour captures",
    "frames": "of several frames",
    "body_part": "of another body part",
    "for_processing": "raw images (FOR PROCESSING) of images that are there",
    "mask": "masks",
    "thumbnail": "thumbnails",
    "system": "hidden, or in recycle bins, snapshots and system folders",
    "own_output": "written by this package",
    "copy": "copies of images that are there",
    "unlisted": "pictures of which the tables and names of the data set tell nothing",
    "packed": "packed files",
    "other_file": "files of other kinds, such as tables and texts",
}
#: Kind of what is kept with a word, to its name in a sentence.
DOUBTS = {
    "for_processing": "kept, though raw (FOR PROCESSING) with no image FOR PRESENTATION",
    "mask": "kept, though called masks, because they look like images",
}
#: What no reader could open, or no layout tells of; and the remedy.
_NEVER_KEPT = {
    "packed": "unpack them first",
    "other_file": "they hold no image",
    "unlisted": "--layout folder reads a folder as plain images",
}
#: What may well be an image.
_MAYBE_FILMS = ("copy", "unlisted")
_EXAMPLES = 24
#: Entries of a datalist that hold the records.
RECORDS = ("left_out", "doubtful")


class LeftOut:
    """Count what is left out, by kind, with examples.

    Args:
        keep: kinds of :data:`KINDS` that are images for this user.

    Raises:
        ConfigurationError: keep names no kind, or one that cannot be kept.
    """

    def __init__(self, keep: Collection[str] = ()) -> None:
        if isinstance(keep, str):
            raise ConfigurationError(f"keep is {keep!r}; expected a list of kinds, such as ['mask'].")
        keepable = [kind for kind in KINDS if kind not in _NEVER_KEPT]
        for kind in keep:
            if kind in _NEVER_KEPT:
                raise ConfigurationError(f"{KINDS[kind]} cannot be kept ({kind}): {_NEVER_KEPT[kind]}.")
            if kind not in keepable:
                raise ConfigurationError(f"keep is {kind!r}; expected one of {', '.join(keepable)}.")
        self.keep = frozenset(keep)
        self._files: dict[str, list[tuple[str, str]]] = {}
        self._doubtful: dict[str, list[tuple[str, str]]] = {}

    def add(self, kind: str, path: str, detail: str = "") -> bool:
        """Count a file, with its sub-kind, as left out and return True; or return False when its kind is kept."""
        if kind in self.keep:
            return False
        self._files.setdefault(kind, []).append((path, detail))
        return True

    def doubt(self, kind: str, path: str) -> None:
        """Count a file of :data:`DOUBTS` that is kept."""
        if kind not in self.keep:
            self._doubtful.setdefault(kind, []).append((path, ""))

    @property
    def paths(self) -> set[str]:
        """What was left out."""
        return {path for files in self._files.values() for path, _ in files}

    @property
    def worth_saying(self) -> bool:
        """Whether anything but texts, tables and the like was left out, or a file is doubtful."""
        return bool(self._doubtful) or any(kind != "other_file" for kind in self._files)

    def records(self) -> dict[str, Any]:
        """``{"left_out": {kind: {"count", "details": {sub-kind: count}, "examples": [path]}}, "doubtful": ...}``.

        A group without an entry is not there.
        """
        records = {"left_out": _counted(self._files, KINDS), "doubtful": _counted(self._doubtful, DOUBTS)}
        return {group: kinds for group, kinds in records.items() if kinds}


def merge_records(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what :meth:`LeftOut.records` gave, which may stand among other entries; examples are spread over all."""
    merged: dict[str, Any] = {group: {} for group in RECORDS}
    for record in records:
        for group, kinds in merged.items():
            for kind, part in (record.get(group) or {}).items():
                whole = kinds.setdefault(kind, {"count": 0, "details": {}, "examples": []})
                whole["count"] += part["count"]
                whole["details"] = dict((Counter(whole["details"]) + Counter(part["details"])).most_common())
                whole["examples"] = _spread([*whole["examples"], *part["examples"]])
    return {group: kinds for group, kinds in merged.items() if kinds}


def map_examples(extra: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return entries of a datalist with the paths of their examples changed."""

    def changed(kinds: Mapping[str, Any]) -> dict[str, Any]:
        return {kind: {**record, "examples": list(map(change, record["examples"]))} for kind, record in kinds.items()}

    return {**extra, **{group: changed(extra[group]) for group in RECORDS if group in extra}}


def sentence(records: Mapping[str, Any]) -> str:
    """What was left out, and what is doubtful, in words; empty where there is nothing."""
    left_out = records.get("left_out", {})
    words = []
    if others := {kind: record for kind, record in left_out.items() if kind not in _MAYBE_FILMS}:
        total = sum(record["count"] for record in others.values())
        listed = [_words(KINDS[kind], record) for kind, record in others.items()]
        files = "file that is no chest X-ray is" if total == 1 else "files that are no chest X-rays are"
        words.append(f"{total} {files} left out: {'; '.join(listed)}")
    also = "also " if others else ""
    words += [f"{also}left out: {_words(KINDS[kind], left_out[kind])}" for kind in _MAYBE_FILMS if kind in left_out]
    if left_out:
        kept = [kind for kind in left_out if kind not in _NEVER_KEPT]
        words += [f"keep a kind with index --keep KIND ({', '.join(kept)})"] if kept else []
        if "packed" in left_out:
            names = ", ".join(os.path.basename(path) for path in left_out["packed"]["examples"][:3])  # noqa: PTH119
            words.append(f"unpack the packed files to have their images read ({names})")
    words += [_words(DOUBTS[kind], record) for kind, record in records.get("doubtful", {}).items()]
    return ". ".join(word[0].upper() + word[1:] for word in words)


def _words(what: str, record: Mapping[str, Any]) -> str:
    details = ", ".join(f"{name} {count}" for name, count in list(record["details"].items())[:6])
    return f"{what}: {record['count']}" + (f" ({details})" if details else "")


def _counted(files: Mapping[str, list[tuple[str, str]]], order: Iterable[str]) -> dict[str, Any]:
    counted = {}
    for kind in (kind for kind in order if kind in files):
        details = Counter(detail for _, detail in files[kind] if detail)
        examples = _spread([path for path, _ in files[kind]])
        counted[kind] = {"count": len(files[kind]), "details": dict(details.most_common()), "examples": examples}
    return counted


def _spread(paths: list[str]) -> list[str]:
    """At most as many as a sheet shows, evenly over all."""
    count = min(len(paths), _EXAMPLES)
    return [paths[number * len(paths) // count] for number in range(count)]
