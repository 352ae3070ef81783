# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of recycle bins, snapshots, thumbnails, masks and packed files."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["folder_kind", "is_snapshot", "mask_word", "packed_kind", "says_thumbnail", "surely_thumbnail"]

# fmt: off
_SYSTEM = frozenset({
    "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "~snapshot", ".snapshot", ".snapshots", ".snap", ".zfs",
    "$recycle.bin", "recycler", "recycled", "recycle.bin", "recycle bin", "recycle", ".recycle", "lost+found",
    "system volume information", "__macosx", ".trash", ".trashes", "trash", "papierkorb", "corbeille", "papelera",
    "network trash folder", "temporary items", ".temporaryitems", ".appledouble", ".fseventsd", ".spotlight-v100",
    ".documentrevisions-v100", "$extend", "found.000", "@sharebin", "@tmp", "@sharesnap", "#sharesnap", "#work",
    ".stversions", ".sync", ".dropbox.cache", "lost.dir", ".ipynb_checkpoints",
})
_SNAPSHOTS = frozenset({"#snapshot", "~snapshot", ".snapshot", ".snapshots", ".snap", ".zfs", "@recently-snapshot"})
_THUMBNAILS = frozenset({"@eadir", ".@__thumb", ".thumbnails", ".thumbs", "@__thumb", ".picasaoriginals"})
_MASK_WORDS = frozenset({
    "seg", "segs", "segm", "segmentation", "segmentations", "groundtruth", "gt", "annotation", "annotations", "label",
    "labels", "masque", "masques", "maske", "masken", "mascara", "mascaras", "maschera", "maschere", "contour",
    "contours", "roi", "rois",
})
# fmt: on
_MAYBE_MASK = re.compile("mas[kqc]|seg|truth|gt|annot|label|contour|roi")
_THUMB = re.compile(r"(^|[^a-z])(thumb(nail)?s?|tn|preview|previews|icon|icons|miniatur\w*|vignettes?)([^a-z]|$)")
_PACKED = re.compile(
    r"\.(zip|zipx|gz|tgz|bz2|tbz2?|xz|txz|zst|lz4|lzma|z|tar|7z|rar|cab|iso|z\d\d|r\d\d|[7zip]+\.\d{3}|tar\.\w+)$"
)
# A packed table or text is a table or text.
_PACKED_TEXT = re.compile(r"\.(csv|tsv|json|jsonl|txt|xml|md|log|sql|html?|py|pt|pth|npy|npz)\.(gz|bz2|xz|zst)$")


def folder_kind(name: str) -> str:
    """Return the kind of what lies in a folder of this name: ``"thumbnail"``, ``"system"``, or empty."""
    lower = name.lower()
    if lower in _THUMBNAILS:
        return "thumbnail"
    return "system" if lower in _SYSTEM or lower.startswith((".trash-", "@gmt-")) else ""


def is_snapshot(name: str) -> bool:
    """Return whether a folder holds snapshots: the whole share, many times over."""
    return name.lower() in _SNAPSHOTS


def packed_kind(name: str) -> str:
    """Return the extension of a packed file, ``".zip"``; empty for any other file, NIfTI and packed tables too."""
    lower = name.lower()
    match = _PACKED.search(lower)
    return "" if match is None or lower.endswith(".nii.gz") or _PACKED_TEXT.search(lower) else match[0]


def mask_word(path: str) -> str:
    """Return the folder, or else the word of the file's name, by which a path says mask; empty when it says none."""
    if not _MAYBE_MASK.search(path.lower()):
        return ""  # most of half a million paths
    *folders, name = path.split("/")
    for folder in reversed(folders):
        if _says_mask(folder):
            return folder.lower()
    return "file name" if _says_mask(name.rsplit(".", 1)[0]) else ""


def says_thumbnail(path: str) -> bool:
    """Return whether a folder or the file's name says thumbnail or preview."""
    return _THUMB.search(path.lower()) is not None


def surely_thumbnail(path: str) -> bool:
    """Return whether the name is one that only thumbnails have: those of network drives."""
    return "synophoto_thumb" in path.lower() or any(part.lower() in _THUMBNAILS for part in path.split("/")[:-1])


@lru_cache(maxsize=4096)
def _says_mask(part: str) -> bool:
    lower = part.lower()
    return "mask" in lower.replace("masked", "").replace("unmask", "") or not _MASK_WORDS.isdisjoint(_words(part))


def _words(part: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part)
    return re.findall(r"[a-z]+", apart.lower())
