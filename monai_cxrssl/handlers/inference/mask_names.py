# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of masks after their images."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from monai_cxrssl.data.datalists.image_names import image_stem

__all__ = ["mask_names"]

# File systems take 255 bytes, of which a suffix (.nii.gz) and a number need some.
_LONGEST_NAME = 240


def mask_names(paths: Sequence[str]) -> list[str]:
    """Give each image a name of its own without folders: its path below the folder of all, ``_`` between the parts.

    Names that differ by upper and lower case only are equal, as some disks take them. Equal ones keep the extensions of
    their images, and are numbered where these are equal, too. The end of a path that is too long for a file name
    follows eight digits of its SHA-256.

    Args:
        paths: of the images, all absolute or all relative.

    Returns:
        Names of letters, digits and ``._-``, without a suffix, of at most 247 bytes.

    Example:
        >>> mask_names(["/x/a/1.png", "/x/b/1.png", "/x/b/1.dcm"])
        ['a_1', 'b_1.png', 'b_1.dcm']
    """
    if not paths:
        return []
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 (texts: 400,000 of them)
    whole = [os.path.relpath(path, folder or ".") for path in paths]
    stems = [_plain(image_stem(path)) for path in whole]
    files = [_plain(path) for path in whole]
    stem_counts, file_counts = (Counter(map(str.casefold, names)) for names in (stems, files))
    # A name that one image alone has is its own, wherever it stands among the others.
    used = {name for name, count in stem_counts.items() if count == 1}
    names = []
    for stem, file in zip(stems, files, strict=True):
        name, number = stem, 1
        if stem_counts[stem.casefold()] > 1:
            if file_counts[file.casefold()] == 1 and file.casefold() not in used:
                name = file
            while name.casefold() in used:
                number += 1
                name = f"{stem}_{number}"
            used.add(name.casefold())
        names.append(name)
    return names


def _plain(path: str) -> str:
    name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", path)).strip("._-") or "image"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{digest}_{name.encode()[9 - _LONGEST_NAME :].decode(errors='ignore')}"
